"""`posthouse import postfix`: reads a folder with main.cf and master.cf, and converts its settings."""
