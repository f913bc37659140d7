"""A token ends a connection when it expires, unless a newer one came in time."""

import time

from chatctl.verify.connection import RawConnection

from tests.harness.cast import Cast

LEEWAY_S = 10


async def _short(cast: Cast, user: str, ttl_s: int) -> RawConnection:
    connection = await cast.connect(user, ttl_s=ttl_s)
    await connection.expect("welcome")
    await connection.sync()
    return connection


async def test_an_expired_token_closes_with_4401(cast: Cast) -> None:
    connection = await _short(cast, cast.user("alice"), 1)
    assert await connection.expect_closed(timeout_s=LEEWAY_S + 20) == 4401


async def test_a_newer_token_keeps_the_connection(cast: Cast) -> None:
    alice = cast.user("alice")
    renewed, expiring = await _short(cast, alice, 1), await _short(cast, cast.user("bob"), 4)
    until = int(time.time()) + 600
    await renewed.send({"type": "auth", "token": cast.sign(cast.claims(alice, exp=until))})
    assert (await renewed.expect("auth_ok"))["expires_at"] == until * 1000
    assert await expiring.expect_closed(timeout_s=LEEWAY_S + 20) == 4401
    await renewed.send({"type": "ping"})
    await renewed.expect("pong")


async def test_a_token_that_may_not_renew_is_forbidden_and_the_old_one_stays_in_force(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    connection = await cast.online(alice)
    tokens = {
        "another user's": cast.sign(cast.claims(bob)),
        "another device's": cast.sign(cast.claims(alice, device="laptop")),
        "expired": cast.sign(cast.claims(alice, exp=int(time.time()) - 60)),
        "of another audience": cast.sign(cast.claims(alice, aud="mail")),
        "without an end": cast.sign(cast.claims(alice, exp=None)),
        "signed by another": cast.sign(cast.claims(alice), secret="a-secret-of-somebody-else-entirely-0"),
    }
    for name, token in tokens.items():
        await connection.send({"type": "auth", "token": token, "ref": "a1"})
        error = await connection.expect("error", ref="a1")
        assert error["code"] == "forbidden", name
    await connection.send({"type": "ping"})
    await connection.expect("pong")
    await connection.send({"type": "auth", "token": cast.sign(cast.claims(alice, device="phone")), "ref": "a2"})
    await connection.expect("auth_ok")
