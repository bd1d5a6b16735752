"""Network parts that several families share: same arithmetic and same key names in each, or they would not be here."""
