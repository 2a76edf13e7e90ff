-- Drawn at random for each commit: a reader whose last row carries another mark has read what never was.
ALTER TABLE changes ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;
