"""From a media address to a file: the address holds, the database knows, the key proves."""

import hmac

from sqlalchemy import Connection, bindparam, case, select
from sqlalchemy.orm import aliased

from annotation_app.keys import MEDIA_LENGTH, Keyring
from annotation_app.schema import ComparisonRow, PairRow, TaskRow, VideoRow

_LEFT, _RIGHT = aliased(VideoRow), aliased(VideoRow)
_FILES = (
    select(PairRow.image_file.label("image"), _LEFT.file.label("left"), _RIGHT.file.label("right"))
    .select_from(TaskRow)
    .join(ComparisonRow, ComparisonRow.id == TaskRow.comparison)
    .join(PairRow, PairRow.id == ComparisonRow.pair)
    .join(_LEFT, _LEFT.id == case((TaskRow.first_left, ComparisonRow.first), else_=ComparisonRow.second))
    .join(_RIGHT, _RIGHT.id == case((TaskRow.first_left, ComparisonRow.second), else_=ComparisonRow.first))
    .where(TaskRow.media == bindparam("media"))
)


def find_media(connection: Connection, keys: Keyring, address: str) -> str | None:
    """Name of the file behind `address`; None where no task has it or its keyed hash is wrong."""
    row = connection.execute(_FILES, {"media": address[:MEDIA_LENGTH]}).one_or_none()
    if row is None:
        return None
    for slot in ("image", "left", "right"):
        if hmac.compare_digest(keys.media_id(address[:MEDIA_LENGTH], slot).encode(), address.encode()):
            name: str = getattr(row, slot)
            return name
    return None
