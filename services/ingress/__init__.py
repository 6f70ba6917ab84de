"""Receives mail over SMTP: asks policy at each step, hands what is accepted to relay, and keeps nothing itself."""
