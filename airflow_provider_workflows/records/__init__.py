"""Small named records that several workers share: budgets and tokens. Kept in memory, files, Redis or a database."""
