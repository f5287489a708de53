"""Six messages that are in no split of the corpus, for a look at the answers."""

from __future__ import annotations

SAMPLES = (
    "Hi, my Solano K7 kettle arrived on 3 May but leaks at the base. Order #58113-C. Zoë Krüger",
    "Why was I charged $49.99 twice this month?",
    "Honestly not bad at all: the new driver left the parcel exactly where I asked. Thank you!",
    "can u pls change the email on my account to li.na@example.org",
    "I will not be renewing. Cancel my subscription before 2024-06-01. Third time I ask!",
    "Does the Brevo Mini 2 work with a 110 V socket? I'm moving to Osaka in mid-June. 王小明",
)
