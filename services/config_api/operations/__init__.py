"""The operation of the gateway: queue, blocked clients, explanations, tests of relay hosts."""
