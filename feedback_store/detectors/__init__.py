"""One file for each kind of personal data: where in a text it stands.

A pattern only proposes: starts are looked for inside a look-ahead, so that overlapping proposals
are all seen, every repeat and every look around has a bound, so that no text takes more than
linear time, and what makes a number a number (checksum, date, region, issuer, numbering plan) or a
name a name (a surname, a word that introduces it) decides.
"""

from feedback_store.detectors.addresses import addresses
from feedback_store.detectors.bank_cards import bank_cards
from feedback_store.detectors.emails import emails
from feedback_store.detectors.id_cards import id_cards
from feedback_store.detectors.names import names
from feedback_store.detectors.passports import passports
from feedback_store.detectors.phones import phones
from feedback_store.detectors.plates import plates

__all__ = [
    "addresses",
    "bank_cards",
    "emails",
    "id_cards",
    "names",
    "passports",
    "phones",
    "plates",
]
