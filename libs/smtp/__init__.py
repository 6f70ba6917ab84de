"""The RFCs' vocabulary of mail: replies, addresses, parameters, envelopes, headers, networks. Pure, no I/O."""
