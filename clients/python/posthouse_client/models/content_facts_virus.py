from typing import Literal, cast

ContentFactsVirus = Literal["clean", "error", "infected"]


def check_content_facts_virus(value: str) -> ContentFactsVirus:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(ContentFactsVirus, value)
