TEXT = "The parcel was late. Anna lives in Oslo."


def test_try(writer_engine, writing):
    a = writer_engine(TEXT)
    print(a)
    print(a["copy"], a["copy"].copied)
    print(list(writer_engine.stream(TEXT, "copy")))
    from polyhead.verify.golden import verify

    print(verify(writing))
    assert 0
