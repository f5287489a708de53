"""Facts and services of the machine that know nothing of models: CPU, cgroups, files, plugins."""
