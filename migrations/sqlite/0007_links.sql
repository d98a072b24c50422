-- Why: how data went between devices, hour by hour, so that people see whether a pair is direct or relayed, how far it is and
-- how much it carries, now and yesterday. One row for each end of a pair and each hour in which that end reported.

CREATE TABLE link_hours (
    -- The end that reported, and the other one.
    device       TEXT    NOT NULL REFERENCES devices (id),
    peer         TEXT    NOT NULL REFERENCES devices (id),
    -- When the hour began.
    hour         INTEGER NOT NULL,
    -- The path of the last report in it, and its round trip in microseconds, if it was known.
    path         TEXT    NOT NULL CHECK (path IN ('none', 'direct', 'lan', 'tcp', 'member', 'relay')),
    rtt_us       INTEGER,
    at           INTEGER NOT NULL,
    -- Sums over the hour: pings that were decided, those of them that were lost, bytes, and reports by kind of path.
    pings        INTEGER NOT NULL,
    lost         INTEGER NOT NULL,
    tx_bytes     INTEGER NOT NULL,
    rx_bytes     INTEGER NOT NULL,
    direct       INTEGER NOT NULL,
    relayed      INTEGER NOT NULL,
    -- Of the reports with a round trip: how many, and their sum.
    rtts         INTEGER NOT NULL,
    rtt_sum_us   INTEGER NOT NULL,
    PRIMARY KEY (device, peer, hour),
    CHECK (device <> peer)
) STRICT;
CREATE INDEX link_hours_peer ON link_hours (peer, hour);
CREATE INDEX link_hours_hour ON link_hours (hour);
