"""ingress: receives mail over SMTP, asks policy about the steps of a session, and hands accepted mail to relay. It
keeps no message after its answer.
"""
