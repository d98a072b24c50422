-- Why: a team's other programs shall hear what happens (a device online, a member that waits) without asking again and again:
-- the server sends it to addresses that they name, and does so until it arrived.

CREATE TABLE webhooks (
    id            EXACT   NOT NULL PRIMARY KEY,
    -- Of which network; NULL for the whole server.
    network_id    EXACT   REFERENCES networks (id),
    -- Its address and the secret that messages are signed with, sealed: many an address is a password itself.
    target        EXACT   NOT NULL,
    -- Whether it may lead to private addresses, and do without TLS: an administrator of the server named it.
    anywhere      BOOLEAN NOT NULL,
    -- Words with spaces between them.
    events        EXACT   NOT NULL,
    description   EXACT   NOT NULL,
    -- The outbox row after which it hears: nothing from before it was made, or while it was off.
    since_row     BIGINT  NOT NULL,
    -- When its secret was drawn.
    secret_at     BIGINT  NOT NULL,
    -- When the first try failed since one succeeded.
    failing_since BIGINT,
    disabled_at   BIGINT,
    created_by    EXACT   NOT NULL,
    created_at    BIGINT  NOT NULL
);
CREATE INDEX webhooks_network ON webhooks (network_id, id);

CREATE TABLE webhook_deliveries (
    id          EXACT   NOT NULL PRIMARY KEY,
    webhook_id  EXACT   NOT NULL REFERENCES webhooks (id),
    event       EXACT   NOT NULL,
    -- What is sent, as it is sent.
    payload     EXACT   NOT NULL,
    state       EXACT   NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    tries       BIGINT  NOT NULL,
    -- When it is tried next, while it is pending.
    next_at     BIGINT  NOT NULL,
    -- The HTTP status of the last try, if one came, and in words why it failed.
    last_status BIGINT,
    last_error  EXACT,
    created_at  BIGINT  NOT NULL,
    done_at     BIGINT
);
CREATE INDEX webhook_deliveries_webhook ON webhook_deliveries (webhook_id, id);
-- What has to be sent, however much was sent before.
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (webhook_id, id, next_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_created ON webhook_deliveries (created_at);
