-- Why: how two devices reach each other, and what stands in the way, so that an administrator sees it without asking
-- at either end. One row for each pair that shares a network: the latest that either end reported.

CREATE TABLE pair_verdicts (
    -- The two devices, the lower id first.
    a        EXACT   NOT NULL REFERENCES devices (id),
    b        EXACT   NOT NULL REFERENCES devices (id),
    -- Which of them says so: "here" in the code is its end.
    reporter EXACT   NOT NULL,
    -- A word of docs/operations.md, "Why a pair is as it is".
    code     EXACT   NOT NULL,
    -- The plan of the attempt, if there was one.
    plan     EXACT,
    -- How long the attempt took.
    took_ms  BIGINT  NOT NULL,
    at       BIGINT  NOT NULL,
    PRIMARY KEY (a, b),
    CHECK (a < b),
    CHECK (reporter IN (a, b))
);
CREATE INDEX pair_verdicts_b ON pair_verdicts (b);
CREATE INDEX pair_verdicts_at ON pair_verdicts (at);
