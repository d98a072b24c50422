//! Requests that are sent twice and done once: what a client's key stands for, and what it was answered.
//!
//! A client that does not hear an answer sends the request again with the same key. The key is claimed before the request is
//! carried out, so that it is carried out once whatever happens to the answer, or to the server. Answers are sealed: some
//! show a secret that is shown once. Nobody's decision, so no audit.

use lanyard_wire::keys::keyed_hash;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::Index;
use super::db::{FromRow, Row, sql};
use super::error::{IndexError, Result};

/// How long a key is known, in milliseconds: a day.
pub const KEPT_MS: i64 = 24 * 3_600_000;

/// A key that a user's client chose for one request.
#[derive(Debug, Clone)]
pub struct RepeatKey {
    user_id: String,
    key_hash: String,
    request_hash: String,
}

/// What is known of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: it is to be carried out now.
    New,
    /// It was carried out, with this status and this answer.
    Done(u16, Vec<u8>),
    /// Another request had that key.
    Other,
    /// It was begun, and what became of it is not known: it is under way, or the server was stopped meanwhile.
    Begun,
}

struct Stored {
    request_hash: String,
    status: Option<i64>,
    answer: Option<Vec<u8>>,
}

impl FromRow for Stored {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            request_hash: row.get("request_hash")?,
            status: row.get("status")?,
            answer: row.get("answer")?,
        })
    }
}

impl Index {
    /// What is stored of a user's key, and of the request it is for.
    #[must_use]
    pub fn repeat_key(&self, user_id: &str, key: &[u8], request: &[&[u8]]) -> RepeatKey {
        let mut parts: Vec<Vec<u8>> = vec![b"request".to_vec()];
        // Each with its length, so that no two requests are one text.
        parts.extend(request.iter().flat_map(|part| [part.len().to_be_bytes().to_vec(), part.to_vec()]));
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let text =
            |parts: &[&[u8]]| data_encoding::HEXLOWER.encode(&keyed_hash(self.code_key.as_bytes(), parts));
        RepeatKey {
            user_id: user_id.to_owned(),
            key_hash: text(&[b"repeat", key]),
            request_hash: text(&parts),
        }
    }

    /// Claims a key, or tells what became of the request that did before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim(&self, key: &RepeatKey) -> Result<Claim> {
        let now = self.clock.now_ms();
        let mut transaction = self.db.begin_write().await?;
        sql!("DELETE FROM api_repeats WHERE created_at <= $1")
            .bind(now.saturating_sub(KEPT_MS))
            .execute(&mut transaction)
            .await?;
        let stored: Option<Stored> =
            sql!("SELECT request_hash, status, answer FROM api_repeats WHERE user_id = $1 AND key_hash = $2")
                .bind(key.user_id.clone())
                .bind(key.key_hash.clone())
                .fetch_optional(&mut transaction)
                .await?;
        let claim = match stored {
            Some(stored) if stored.request_hash != key.request_hash => Claim::Other,
            Some(Stored { status: Some(status), answer: Some(answer), .. }) => {
                Claim::Done(u16::try_from(status).unwrap_or_default(), self.open_answer(key, answer)?)
            }
            Some(_) => Claim::Begun,
            None => {
                sql!(
                    "INSERT INTO api_repeats (user_id, key_hash, request_hash, created_at) VALUES ($1, $2, $3, $4)"
                )
                .bind(key.user_id.clone())
                .bind(key.key_hash.clone())
                .bind(key.request_hash.clone())
                .bind(now)
                .execute(&mut transaction)
                .await?;
                Claim::New
            }
        };
        transaction.commit().await?;
        Ok(claim)
    }

    /// Keeps the answer of a request that was carried out.
    ///
    /// # Errors
    /// When the database fails; the key stays claimed then.
    pub async fn settle(&self, key: &RepeatKey, status: u16, answer: &[u8]) -> Result<()> {
        let sealed = self.seal_answer(key, answer)?;
        let mut transaction = self.db.begin_write().await?;
        sql!("UPDATE api_repeats SET status = $3, answer = $4 WHERE user_id = $1 AND key_hash = $2")
            .bind(key.user_id.clone())
            .bind(key.key_hash.clone())
            .bind(i64::from(status))
            .bind(sealed)
            .execute(&mut transaction)
            .await?;
        transaction.commit().await
    }

    /// Gives a key back: its request was refused, and nothing was changed.
    ///
    /// # Errors
    /// When the database fails; the key stays claimed then.
    pub async fn give_back(&self, key: &RepeatKey) -> Result<()> {
        let mut transaction = self.db.begin_write().await?;
        sql!("DELETE FROM api_repeats WHERE user_id = $1 AND key_hash = $2")
            .bind(key.user_id.clone())
            .bind(key.key_hash.clone())
            .execute(&mut transaction)
            .await?;
        transaction.commit().await
    }

    fn seal_answer(&self, key: &RepeatKey, answer: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce)?;
        let mut sealed = answer.to_vec();
        let place = Aad::from(key.place());
        self.answer_key()?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), place, &mut sealed)
            .map_err(|_| unreadable())?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    fn open_answer(&self, key: &RepeatKey, mut sealed: Vec<u8>) -> Result<Vec<u8>> {
        let (nonce, text) = sealed.split_at_mut_checked(NONCE_LEN).ok_or_else(unreadable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| unreadable())?;
        let answer = self.answer_key()?.open_in_place(nonce, Aad::from(key.place()), text);
        Ok(answer.map_err(|_| unreadable())?.to_vec())
    }

    fn answer_key(&self) -> Result<LessSafeKey> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, self.answers.as_bytes()).map_err(|_| unreadable())?;
        Ok(LessSafeKey::new(key))
    }
}

impl RepeatKey {
    /// Which row an answer is sealed for: it opens in no other.
    fn place(&self) -> Vec<u8> {
        [self.user_id.as_bytes(), b"/", self.key_hash.as_bytes()].concat()
    }
}

fn unreadable() -> IndexError {
    IndexError::Unreadable { column: "api_repeats.answer", why: "it was sealed with another key".to_owned() }
}
