"""How a message is sent: look-ups, connections, transactions. `open_transport` makes the Transport that the queue
uses.
"""

from services.relay.delivery.targets.options import DeliveryOptions, Timeouts, networks, own_addresses
from services.relay.delivery.transport import MailTransport, open_transport

__all__ = ["DeliveryOptions", "MailTransport", "Timeouts", "networks", "open_transport", "own_addresses"]
