"""With one interface for both sides, beside the path, synward serves every request as it does with two."""

from flood import check, request, requests_under_flood
from story import ONE_ARM, receive, story


def run(lab, synward):
    for family in 4, 6:
        for scheme in "http", "https":
            for _ in range(10):
                _, error = request(lab, family, scheme)
                assert error is None, f"IPv{family}, {scheme}: {error}"
        client, server = lab.pair(family)
        client.sendall(b"one arm")
        assert receive(server, 7) == b"one arm"
    synward.carried(42)
    check(requests_under_flood(lab, synward, 4, requests=200, shortest=5), synward.responder)


story(run, lab=("--arms", "one", "--file-mib", "1"), interfaces=ONE_ARM)
