"""The values of the mail RFCs: replies, addresses, parameters, envelopes, headers, networks. Pure, without I/O."""
