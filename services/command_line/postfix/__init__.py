"""`posthouse import postfix`: a folder with main.cf and master.cf, and what its settings are here."""
