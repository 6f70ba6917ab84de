from typing import Literal, cast

BucketWidth = Literal["day", "five_minutes", "hour"]


def check_bucket_width(value: str) -> BucketWidth:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(BucketWidth, value)
