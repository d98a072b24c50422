-- Why: how much a pair exchanges at the moment, and how much of an hour's bytes went through others, so that people see a link that is busy,
-- and one that is relayed only now and then, as what it is.

-- Of the bytes sent and received, those of reports with a path through a member or a relay.
ALTER TABLE link_hours ADD COLUMN relayed_bytes BIGINT NOT NULL DEFAULT 0;
-- Bytes of the newest report alone, and over how many milliseconds they came together; 0 where that was not kept.
ALTER TABLE link_hours ADD COLUMN newest_tx BIGINT NOT NULL DEFAULT 0;
ALTER TABLE link_hours ADD COLUMN newest_rx BIGINT NOT NULL DEFAULT 0;
ALTER TABLE link_hours ADD COLUMN newest_ms BIGINT NOT NULL DEFAULT 0;

-- Of hours before that, the share of the reports is as good as it gets.
UPDATE link_hours SET relayed_bytes = (tx_bytes + rx_bytes) / (direct + relayed) * relayed WHERE relayed > 0;
