-- Why: members of a network may pass on frames for two others that cannot reach each other, if they are willing. Whoever
-- runs a network may forbid it, since the one in between sees who talks with whom and how much.

ALTER TABLE networks ADD COLUMN peer_relay BOOLEAN NOT NULL DEFAULT TRUE;
