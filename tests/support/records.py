"""Records of runs in which all went well, for the judge of the bench suite; a test breaks something in one."""

from __future__ import annotations

from bench.chaos.judge import CHECKS
from bench.chaos.record import Arrival, Event, Record, Stay

ORDERS = {"o0": 1, "o1": 2, "ada": 3, "bob": 4}
MESSAGES = 60


def entered(member: str, node: int, **more: object) -> Stay:
    """Somebody who came in by `ORDERS`, and was told of those who came later."""
    order = ORDERS[member]
    stay = Stay(member, "room", node, joined_at=float(order), asked_at=order - 0.5)
    stay.first_roster = {other: place for other, place in ORDERS.items() if place <= order}
    stay.roster = dict(stay.first_roster)
    for other, place in ORDERS.items():
        if place > order:
            stay.hear(Event(float(place), joined=True, peer=other, order=place))
    for name, value in more.items():
        setattr(stay, name, value)
    return stay


def calm() -> Record:
    """Two observers and two peers on two nodes; Ada has sent Bob a number of messages, and all went well."""
    stays = [entered("o0", 0, role="observer"), entered("o1", 1, role="observer"), entered("ada", 0), entered("bob", 1)]
    for number in range(1, MESSAGES + 1):
        send(stays[2], stays[3], number)
    return Record(stays=stays)


def send(sender: Stay, receiver: Stay, number: int, target: str = "") -> None:
    at = 10.0 + number
    target = target or receiver.member
    times = sender.sent.setdefault(target, [])
    if len(times) < number:
        times.append(at)
        sender.acknowledged.setdefault(target, {})[number] = at + 0.5
    receiver.arrived.append(Arrival(at + 0.5, sender.member, target, number, at))


def member(record: Record, name: str) -> Stay:
    return next(stay for stay in record.stays if stay.member == name)


def hear(record: Record, event: Event, *names: str) -> None:
    for name in names:
        member(record, name).hear(event)


def breaches(record: Record) -> dict[str, int]:
    found = {name: len(list(check(record))) for name, check in CHECKS.items()}
    return {name: count for name, count in found.items() if count}
