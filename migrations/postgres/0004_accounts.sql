-- Why: people sign in. How each of them proves who they are, where they are signed in, and one-time codes with
-- which they choose a password.

CREATE TABLE credentials (
    id           EXACT   NOT NULL PRIMARY KEY,
    user_id      EXACT   NOT NULL REFERENCES users (id),
    kind         EXACT   NOT NULL CHECK (kind IN ('password', 'totp', 'passkey', 'oidc', 'recovery')),
    -- Whose word it is: the issuer of an OIDC provider; empty for our own.
    issuer       EXACT   NOT NULL DEFAULT '',
    -- Who it is there: an OIDC subject, the id of a passkey, the hash of a recovery code. Of passwords and TOTP secrets
    -- each user has one: the user's id.
    subject      EXACT   NOT NULL,
    -- What its owner calls it.
    label        EXACT   NOT NULL DEFAULT '',
    -- A password's Argon2id string and a TOTP secret are of no use without a key that is not in this database; a passkey
    -- has only its public half here.
    secret       EXACT   NOT NULL DEFAULT '',
    -- The newest time step of a TOTP code that was taken: none is taken twice.
    counter      BIGINT  NOT NULL DEFAULT 0,
    -- NULL until its owner has shown once that it works.
    confirmed_at BIGINT,
    created_at   BIGINT  NOT NULL,
    last_used_at BIGINT,
    UNIQUE (kind, issuer, subject)
);
CREATE INDEX credentials_user ON credentials (user_id, kind);

CREATE TABLE sessions (
    id         EXACT   NOT NULL PRIMARY KEY,
    user_id    EXACT   NOT NULL REFERENCES users (id),
    -- Keyed BLAKE2s of the 256 bits in the browser's cookie.
    token_hash EXACT   NOT NULL UNIQUE,
    user_agent EXACT   NOT NULL DEFAULT '',
    ip         EXACT,
    created_at BIGINT  NOT NULL,
    -- Written once a minute at the most.
    seen_at    BIGINT  NOT NULL,
    expires_at BIGINT  NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX sessions_user ON sessions (user_id, expires_at);

CREATE TABLE user_codes (
    id         EXACT   NOT NULL PRIMARY KEY,
    user_id    EXACT   NOT NULL REFERENCES users (id),
    -- Keyed BLAKE2s; the code itself is shown once.
    code_hash  EXACT   NOT NULL UNIQUE,
    expires_at BIGINT  NOT NULL,
    used_at    BIGINT,
    created_by EXACT   NOT NULL,
    created_at BIGINT  NOT NULL
);
CREATE INDEX user_codes_user ON user_codes (user_id);
