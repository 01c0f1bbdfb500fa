"""The landing zone, where vendors put files.

    port.py     what a place where files land can be asked
    local.py    a folder
    s3.py       a bucket of an S3-compatible store
    zone.py     a place with its archive: files taken in

Belongs here: seeing delivered files, and taking their bytes in. Does not belong here: keeping those bytes
(``archive``), which files are known (the ledger), when to look and what is news (``intake``), what is in a file
(``raw``). Invariant: nothing is ever written to a landing zone.
"""

from sh_resources.landing.local import LocalFolder
from sh_resources.landing.port import Found, Place, Seen
from sh_resources.landing.s3 import S3Bucket
from sh_resources.landing.zone import Ingested, LandingZone, Taken

__all__ = ["Found", "Ingested", "LandingZone", "LocalFolder", "Place", "S3Bucket", "Seen", "Taken"]
