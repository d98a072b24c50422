-- Why: a team's other programs shall hear what happens (a device online, a member that waits) without asking again and again:
-- the server sends it to addresses that they name, and does so until it arrived.

CREATE TABLE webhooks (
    id            TEXT    NOT NULL PRIMARY KEY,
    -- Of which network; NULL for the whole server.
    network_id    TEXT    REFERENCES networks (id),
    -- Its address and the secret that messages are signed with, sealed: many an address is a password itself.
    target        TEXT    NOT NULL,
    -- Whether it may lead to private addresses, and do without TLS: an administrator of the server named it.
    anywhere      INTEGER NOT NULL CHECK (anywhere IN (0, 1)),
    -- Words with spaces between them.
    events        TEXT    NOT NULL,
    description   TEXT    NOT NULL,
    -- The outbox row after which it hears: nothing from before it was made, or while it was off.
    since_row     INTEGER NOT NULL,
    -- When its secret was drawn.
    secret_at     INTEGER NOT NULL,
    -- When the first try failed since one succeeded.
    failing_since INTEGER,
    disabled_at   INTEGER,
    created_by    TEXT    NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX webhooks_network ON webhooks (network_id, id);

CREATE TABLE webhook_deliveries (
    id          TEXT    NOT NULL PRIMARY KEY,
    webhook_id  TEXT    NOT NULL REFERENCES webhooks (id),
    event       TEXT    NOT NULL,
    -- What is sent, as it is sent.
    payload     TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    tries       INTEGER NOT NULL,
    -- When it is tried next, while it is pending.
    next_at     INTEGER NOT NULL,
    -- The HTTP status of the last try, if one came, and in words why it failed.
    last_status INTEGER,
    last_error  TEXT,
    created_at  INTEGER NOT NULL,
    done_at     INTEGER
) STRICT;
CREATE INDEX webhook_deliveries_webhook ON webhook_deliveries (webhook_id, id);
-- What has to be sent, however much was sent before.
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (webhook_id, id, next_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_created ON webhook_deliveries (created_at);
