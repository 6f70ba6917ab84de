"""ingress: receives mail over SMTP, asks policy at each step, and hands accepted mail to relay. It stores nothing
itself.
"""
