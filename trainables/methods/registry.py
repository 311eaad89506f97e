"""The methods, by the name that a sweep file uses. A literal, so that it reads as a table."""

from trainables.methods.method import Method
from trainables.methods.mona import MONA
from trainables.methods.nft import NFT

METHODS: dict[str, Method] = {method.name: method for method in (MONA, NFT)}
