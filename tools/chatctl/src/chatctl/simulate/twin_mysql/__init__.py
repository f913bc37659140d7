"""The twin of MySQL: the SQL that the worker sends, its transactions and its locks, in memory."""
