-- Why: people sign in. How each of them proves who they are, where they are signed in, and one-time codes with
-- which they choose a password.

CREATE TABLE credentials (
    id           TEXT    NOT NULL PRIMARY KEY,
    user_id      TEXT    NOT NULL REFERENCES users (id),
    kind         TEXT    NOT NULL CHECK (kind IN ('password', 'totp', 'passkey', 'oidc', 'recovery')),
    -- Whose word it is: the issuer of an OIDC provider; empty for our own.
    issuer       TEXT    NOT NULL DEFAULT '',
    -- Who it is there: an OIDC subject, the id of a passkey, the hash of a recovery code. Of passwords and TOTP secrets
    -- each user has one: the user's id.
    subject      TEXT    NOT NULL,
    -- What its owner calls it.
    label        TEXT    NOT NULL DEFAULT '',
    -- A password's Argon2id string and a TOTP secret are of no use without a key that is not in this database; a passkey
    -- has only its public half here.
    secret       TEXT    NOT NULL DEFAULT '',
    -- The newest time step of a TOTP code that was taken: none is taken twice.
    counter      INTEGER NOT NULL DEFAULT 0,
    -- NULL until its owner has shown once that it works.
    confirmed_at INTEGER,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    UNIQUE (kind, issuer, subject)
) STRICT;
CREATE INDEX credentials_user ON credentials (user_id, kind);

CREATE TABLE sessions (
    id         TEXT    NOT NULL PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES users (id),
    -- Keyed BLAKE2s of the 256 bits in the browser's cookie.
    token_hash TEXT    NOT NULL UNIQUE,
    user_agent TEXT    NOT NULL DEFAULT '',
    ip         TEXT,
    created_at INTEGER NOT NULL,
    -- Written once a minute at the most.
    seen_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
CREATE INDEX sessions_user ON sessions (user_id, expires_at);

CREATE TABLE user_codes (
    id         TEXT    NOT NULL PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES users (id),
    -- Keyed BLAKE2s; the code itself is shown once.
    code_hash  TEXT    NOT NULL UNIQUE,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER,
    created_by TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX user_codes_user ON user_codes (user_id);
