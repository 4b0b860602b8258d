#!/usr/bin/env python3
"""Writes the sample shop: catalogue.jsonl and events.jsonl, from products.toml.

    python3 assets/generate.py                  write both files
    python3 assets/generate.py --check          fail if the files differ from what would be written
    python3 assets/generate.py --truth FILE...  print what an index must hold after reading these files

Python 3.11 or newer, standard library only. The same input gives the same bytes: chance comes from `random.random()`
alone, the one method whose sequence Python promises to keep for a seed.
"""

import json
import random
import re
import sys
import tomllib
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import chain, islice, zip_longest
from pathlib import Path

FOLDER = Path(__file__).parent
PRODUCTS = 2_000
LISTED_TWICE = 10
TITLES = ["{brand} {model}, {option}", "{brand} {model}, {option}", "{model} by {brand}, {option}", "{brand} {model} ({option})"]
MINUTE = 60_000
HOUR = 60 * MINUTE
CATALOGUE_STARTS = int(datetime(2026, 2, 2, 8, tzinfo=timezone.utc).timestamp() * 1000)
CATALOGUE_STEP = 105 * MINUTE
EVENTS_START = int(datetime(2026, 7, 1, 6, tzinfo=timezone.utc).timestamp() * 1000)
EVENTS_STEP = 24 * MINUTE


class Dice:
    """Chance that can be repeated."""

    def __init__(self, seed):
        self.random = random.Random(seed).random

    def below(self, limit):
        return int(self.random() * limit)

    def between(self, low, high):
        return low + self.below(high - low + 1)

    def pick(self, items):
        return items[self.below(len(items))]

    def shuffled(self, items):
        return sorted(items, key=lambda _: self.random())


# ---------------------------------------------------------------- products


@dataclass(frozen=True)
class Model:
    """One thing that the shop sells, in several options and from several brands."""

    category: str
    name: str
    about: str
    details: list
    options: list
    price: tuple


@dataclass(frozen=True)
class Product:
    """One entry of the shop, as it is now."""

    id: str
    model: Model
    title: str
    description: str
    price: float

    def create(self, timestamp):
        return {
            "type": "product_create", "product_id": self.id, "title": self.title, "description": self.description,
            "category": self.model.category, "price": self.price, "timestamp": timestamp,
        }  # fmt: skip


def say(sentence, dice):
    """The sentence with one of each `{a|b|c}`."""
    return re.sub(r"\{([^{}]*)\}", lambda match: dice.pick(match[1].split("|")), sentence)


def describe(model, dice, details=1):
    chosen = dice.shuffled(model.details)[:details]
    return " ".join(say(sentence, dice) for sentence in [model.about, *chosen])


def priced(low, high, dice):
    """A price as shops write it: never a whole number."""
    return round(dice.between(low, high) + dice.pick([0.49, 0.5, 0.95, 0.99, 0.99]), 2)


def listings(shop, dice):
    """Every (title, model) of the shop, each title once: the models of a kind in turn, the kinds in turn."""
    kinds = []
    for kind in shop["kind"]:
        titles = kind.get("titles", TITLES)
        brands = shop["brands"].get(kind.get("brands"), [""])
        models = []
        for number, (name, about, *own) in enumerate(kind["models"], start=1):
            own = own[0] if own else {}
            fitting = [d if isinstance(d, str) else d["text"] for d in kind["details"] if isinstance(d, str) or number in d["of"]]
            price = tuple(own.get("price", kind["price"]))
            model = Model(kind["category"], name, about, fitting, own.get("options", kind["options"]), price)
            variants = [(brand, option) for brand in brands for option in model.options]
            models.append([
                (dice.pick(titles).format(brand=brand, model=name, option=option), model)
                for brand, option in dice.shuffled(variants)
            ])  # fmt: skip
        kinds.append(in_turn(models))
    return in_turn(dice.shuffled(kinds))


def in_turn(lists):
    """The first of each list, then the second of each, and so on."""
    return [item for row in zip_longest(*lists) for item in row if item is not None]


def products(shop, dice):
    """Products without end in sight, each with a text of its own, ids in order."""
    for number, (title, model) in enumerate(listings(shop, dice), start=1):
        yield Product(f"P{number:05}", model, title, describe(model, dice), priced(*model.price, dice))


def catalogue(source, dice):
    """The products of the first day, in the order of their creation. A few are listed twice: one text under two ids."""
    once = list(islice(source, PRODUCTS - LISTED_TWICE))
    twice = [replace(product, price=priced(*product.model.price, dice)) for product in dice.shuffled(once)[:LISTED_TWICE]]
    mixed = dice.shuffled(once + twice)
    return [replace(product, id=f"P{number:05}") for number, product in enumerate(mixed, start=1)]


# ---------------------------------------------------------------- events


class Stream:
    """Ten days in the life of the shop, as its events arrive: mostly in order, sometimes late, twice or broken."""

    def __init__(self, listed, created, source, dice):
        self.shop = {product.id: product for product in listed}
        self.created = created  # id -> the event that created it
        self.untouched = dice.shuffled(list(self.shop))
        self.source = source
        self.dice = dice
        self.next_number = len(listed) + 1
        self.now = EVENTS_START
        self.lines = []
        self.whole = []  # the lines that are not broken
        self.on_sale = []
        self.waiting = []  # (how many lines must be there first, line)

    def fresh(self):
        """A product of the catalogue that no event has touched, so that what happens to it is what its name says."""
        return self.shop[self.untouched.pop()]

    def tick(self):
        self.now += self.dice.between(EVENTS_STEP // 2, EVENTS_STEP * 3 // 2)
        return self.now

    def arrive(self, event, after=0):
        """The event arrives now, or after so many others."""
        line = event if isinstance(event, str) else as_line(event)
        self.whole.append(line)
        if after:
            self.waiting.append((len(self.lines) + after, line))
        else:
            self.deliver(line)

    def deliver(self, line):
        self.lines.append(line)
        due = [line for place, line in self.waiting if place <= len(self.lines)]
        self.waiting = [(place, line) for place, line in self.waiting if place > len(self.lines)]
        self.lines += due

    def soon(self):
        return self.dice.between(3, 25)

    # What a shop does.

    def price_change(self, product, timestamp, end_of_sale=False):
        percent = None if end_of_sale else self.dice.pick([5, 10, 15, 20, 25, 30, 40])
        factor = 1.15 if end_of_sale else 1 - percent / 100
        new_price = round(int(product.price * factor) + self.dice.pick([0.49, 0.95, 0.99]), 2)
        return {
            "type": "price_change", "product_id": product.id, "product_name": product.title, "old_price": product.price,
            "new_price": new_price, "discount_percentage": percent, "timestamp": timestamp,
        }  # fmt: skip

    def product_update(self, product, timestamp, **texts):
        changed = [name for name, text in texts.items() if text != getattr(product, name)]
        return {
            "type": "product_update", "product_id": product.id, "title": texts.get("title", product.title),
            "description": texts.get("description", product.description), "updated_fields": changed, "timestamp": timestamp,
        }  # fmt: skip

    def product_delete(self, product, timestamp):
        return {"type": "product_delete", "product_id": product.id, "timestamp": timestamp}

    def new_product(self):
        product = replace(next(self.source), id=f"P{self.next_number:05}")
        self.next_number += 1
        return product

    def keep(self, product):
        self.shop[product.id] = product

    # What happens, one method a story.

    def sale(self):
        product = self.shop[self.dice.pick(list(self.shop))]
        event = self.price_change(product, self.tick())
        self.keep(replace(product, price=event["new_price"]))
        self.on_sale.append(product.id)
        self.arrive(event)

    def end_of_sale(self):
        """The discount is `null`: the product has none any more."""
        product = self.shop.get(self.on_sale.pop(0)) if self.on_sale else None
        if product is None:
            return self.sale()
        event = self.price_change(product, self.tick(), end_of_sale=True)
        self.keep(replace(product, price=event["new_price"]))
        self.arrive(event)

    def reworded(self):
        product = self.fresh()
        description = describe(product.model, self.dice, details=2)
        self.keep(replace(product, description=description))
        self.arrive(self.product_update(product, self.tick(), description=description))

    def renamed(self):
        product = self.fresh()
        title = f"{product.title} - {self.dice.pick(['New Edition', 'Improved', 'Last Season', 'Bestseller'])}"
        self.keep(replace(product, title=title))
        self.arrive(self.product_update(product, self.tick(), title=title))

    def update_that_changes_nothing(self):
        self.arrive(self.product_update(self.fresh(), self.tick()))

    def launch(self):
        product = self.new_product()
        self.keep(product)
        self.arrive(product.create(self.tick()))

    def relaunch(self):
        """A create for a product that is there: what it does not name, such as an old discount, is gone."""
        product = self.fresh()
        self.arrive(self.price_change(product, self.tick()))
        product = replace(product, description=describe(product.model, self.dice, details=2))
        self.keep(product)
        self.arrive(product.create(self.tick() + HOUR), after=self.soon())

    def delete(self):
        product = self.fresh()
        del self.shop[product.id]
        self.arrive(self.product_delete(product, self.tick()))

    def delete_and_come_back(self):
        product = self.fresh()
        self.arrive(self.product_delete(product, self.tick()))
        self.arrive(product.create(self.tick() + HOUR), after=self.soon())

    def late_create_after_delete(self):
        """The create of the catalogue is delivered once more, after the delete: the product stays deleted."""
        product = self.fresh()
        del self.shop[product.id]
        self.arrive(self.product_delete(product, self.tick()))
        self.arrive(self.created[product.id], after=self.soon())

    def price_after_delete(self):
        product = self.fresh()
        del self.shop[product.id]
        self.arrive(self.product_delete(product, self.tick()))
        self.arrive(self.price_change(product, self.tick() + HOUR), after=self.soon())

    def late_price(self):
        product = self.fresh()
        older = self.price_change(product, self.tick())
        newer = self.price_change(replace(product, price=older["new_price"]), self.tick())
        self.keep(replace(product, price=newer["new_price"]))
        self.arrive(newer)
        self.arrive(older, after=self.soon())

    def late_update(self):
        product = self.fresh()
        older = self.product_update(product, self.tick(), description=describe(product.model, self.dice, details=2))
        title = f"{product.title} - Revised"
        self.keep(replace(product, title=title))
        self.arrive(self.product_update(product, self.tick(), title=title))
        self.arrive(older, after=self.soon())

    def price_before_create(self):
        """The price is newer than the product that it waits for, and stays."""
        product = self.new_product()
        create = product.create(self.tick())
        self.arrive(self.price_change(product, self.tick()))
        self.arrive(create, after=self.soon())

    def stale_price_before_create(self):
        """The price is older than the product, which comes with a price of its own."""
        product = self.new_product()
        self.arrive(self.price_change(product, self.tick()))
        self.arrive(product.create(self.tick() + HOUR), after=self.soon())

    def price_without_product(self):
        self.arrive(self.price_change(self.new_product(), self.tick()))

    def two_prices_at_one_instant(self):
        product = self.fresh()
        instant = self.tick()
        self.arrive(self.price_change(product, instant))
        self.arrive(self.price_change(replace(product, price=product.price + 3), instant), after=self.soon())

    def description_withdrawn(self):
        """Without a description there is no text, so the product leaves the index without being deleted."""
        self.arrive(self.product_update(self.fresh(), self.tick(), description=None))

    def description_withdrawn_and_given_back(self):
        product = self.fresh()
        self.arrive(self.product_update(product, self.tick(), description=None))
        self.arrive(self.product_update(product, self.tick() + HOUR, description=product.description), after=self.soon())

    def duplicate(self):
        if self.whole:
            self.arrive(self.dice.pick(self.whole[-40:]), after=self.soon())

    def broken_json(self):
        whole = as_line(self.price_change(self.fresh(), self.tick()))
        self.deliver(whole[: len(whole) * 2 // 3])

    def missing_id(self):
        event = self.price_change(self.fresh(), self.tick())
        del event["product_id"]
        self.deliver(as_line(event))


STORIES = {
    Stream.sale: 205,
    Stream.end_of_sale: 54,
    Stream.reworded: 62,
    Stream.renamed: 24,
    Stream.update_that_changes_nothing: 15,
    Stream.launch: 60,
    Stream.relaunch: 4,
    Stream.delete: 36,
    Stream.delete_and_come_back: 4,
    Stream.late_create_after_delete: 5,
    Stream.price_after_delete: 3,
    Stream.late_price: 16,
    Stream.late_update: 6,
    Stream.price_before_create: 6,
    Stream.stale_price_before_create: 2,
    Stream.price_without_product: 2,
    Stream.two_prices_at_one_instant: 2,
    Stream.description_withdrawn: 1,
    Stream.description_withdrawn_and_given_back: 2,
    Stream.duplicate: 36,
    Stream.broken_json: 1,
    Stream.missing_id: 1,
}


def events(listed, created, source, dice):
    stream = Stream(listed, created, source, dice)
    for story in dice.shuffled(list(chain.from_iterable([story] * times for story, times in STORIES.items()))):
        story(stream)
    return stream.lines + [line for _, line in sorted(stream.waiting)]


# ---------------------------------------------------------------- the truth


def truth(lines):
    """What the index must hold after these events in any order, by the merge rule said plainly and not by merging:
    of each field, the newest value that was not removed; of two with one timestamp, the greater JSON text.
    A product is in the index when it has a title and a description."""
    changes = {}
    for line in lines:
        try:
            event = json.loads(line)
            changes.setdefault(event["product_id"], []).append(event)
        except (json.JSONDecodeError, KeyError):
            continue  # a dead letter

    never = float("-inf")
    for name, told in sorted(changes.items()):
        whole = max((event["timestamp"] for event in told if event["type"] == "product_create"), default=never)
        deleted = max((event["timestamp"] for event in told if event["type"] == "product_delete"), default=never)
        values = {}
        for event in told:
            if event["timestamp"] < whole or event["timestamp"] <= deleted or event["type"] == "product_delete":
                continue
            for field, value in event.items():
                field = "price" if field == "new_price" else field
                values.setdefault(field, []).append((event["timestamp"], as_line(value), value))
        newest = {field: max(candidates)[2] for field, candidates in values.items()}
        used = ["title", "description", "category", "price", "discount_percentage"]
        fields = {field: newest[field] for field in used if newest.get(field) is not None}
        if "title" in fields and "description" in fields:
            yield {"id": name, "fields": fields}


# ---------------------------------------------------------------- files


def as_line(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def generate():
    shop = tomllib.loads((FOLDER / "products.toml").read_text(encoding="utf-8"))
    dice = Dice("catalogue")
    source = products(shop, dice)
    listed = catalogue(source, dice)
    created = {
        product.id: as_line(product.create(CATALOGUE_STARTS + number * CATALOGUE_STEP + dice.below(CATALOGUE_STEP)))
        for number, product in enumerate(listed)
    }
    return {
        "catalogue.jsonl": list(created.values()),
        "events.jsonl": events(listed, created, source, Dice("events")),
    }


def main(arguments):
    match arguments:
        case []:
            for name, lines in generate().items():
                (FOLDER / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
        case ["--check"]:
            stale = [name for name, lines in generate().items() if (FOLDER / name).read_text(encoding="utf-8").splitlines() != lines]
            if stale:
                sys.exit(f"{' and '.join(stale)}: not what products.toml gives; run python3 assets/generate.py")
        case ["--truth", _, *_]:
            lines = chain.from_iterable(Path(name).read_text(encoding="utf-8").splitlines() for name in arguments[1:])
            for document in truth(lines):
                print(as_line(document))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
