"""policy: judges every step of a session by the facts and by what operators configured."""
