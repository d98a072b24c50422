//! Lists a page at a time.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use data_encoding::BASE64URL_NOPAD;
use serde::de::DeserializeOwned;
use serde::de::value::{Error, MapDeserializer};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;
use crate::api::Web;
use crate::index::lists::{Filter, Listed, PAGE_MAX, Page};
use crate::index::query::Query as Search;

/// Rows of a page if nothing is said.
const PAGE: u32 = 100;

/// Which page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "what the document says of every list; it is read by `Wanted`")]
pub(super) struct PageQuery {
    /// `next` of the page before.
    after: Option<String>,
    /// Most items, 1 to 500; 100 if nothing is said.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Items<T> {
    /// What is on this page.
    items: Vec<T>,
    /// What to send as `after` for the next page; null on the last.
    #[schema(required)]
    next: Option<String>,
}

impl<T> Items<T> {
    /// A page, each row as a program sees it.
    pub(super) fn of<R>(listed: Listed<R>, view: impl FnMut(R) -> T) -> Self {
        let next = listed.next.and_then(|place| serde_json::to_vec(&place).ok());
        Self {
            items: listed.rows.into_iter().map(view).collect(),
            next: next.map(|place| BASE64URL_NOPAD.encode(&place)),
        }
    }

    /// A list that is short enough for one page.
    pub(super) fn all<R>(rows: Vec<R>, view: impl FnMut(R) -> T) -> Self {
        Self { items: rows.into_iter().map(view).collect(), next: None }
    }
}

/// The page that is asked for, and which of the rows; `F` has the conditions of the list as texts, empty for none.
pub(super) struct Wanted<F = Nothing> {
    /// Which page.
    pub(super) page: Page,
    /// Which rows.
    pub(super) filter: F,
}

/// No conditions.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// What is looked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    /// Only what this query finds.
    #[serde(default)]
    #[param(required = false, max_length = 512)]
    pub(super) q: String,
}

impl Text {
    /// As a condition.
    pub(super) fn filter(self) -> Result<Filter, Problem> {
        Ok(Filter { query: looked_for(&self.q)?, ..Filter::default() })
    }
}

/// What is looked for, in the language of queries.
pub(super) fn looked_for(text: &str) -> Result<Search, Problem> {
    Ok(text.parse()?)
}

/// `true` or `false`, if something is said.
pub(super) fn truth(name: &str, text: &str) -> Result<Option<bool>, Problem> {
    match text {
        "" => Ok(None),
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => Err(Problem::query(format!("{name} is true or false"))),
    }
}

impl<F: DeserializeOwned> FromRequestParts<Web> for Wanted<F> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Problem> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Query(pairs) = pairs.map_err(|error| Problem::query(error.body_text()))?;
        let (paging, rest): (Vec<_>, Vec<_>) =
            pairs.into_iter().partition(|(name, _)| name == "after" || name == "limit");
        let filter = F::deserialize(MapDeserializer::<_, Error>::new(rest.into_iter()));
        let filter = filter.map_err(|error| Problem::query(error.to_string()))?;
        let mut page = Page::first(PAGE);
        for (name, value) in paging {
            if name == "limit" {
                let limit = value.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                page.limit = limit.ok_or_else(|| Problem::query(format!("limit is from 1 to {PAGE_MAX}")))?;
            } else {
                let wrong = || Problem::query("after is the next of a page before, as it was given");
                page.after = place(&value).ok_or_else(wrong)?;
            }
        }
        Ok(Self { page, filter })
    }
}

/// The rest of a query alone, for what is no list.
pub(super) struct Asked<F>(pub(super) F);

impl<F: DeserializeOwned> FromRequestParts<Web> for Asked<F> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Problem> {
        let asked = Query::<F>::try_from_uri(&parts.uri);
        asked.map(|Query(asked)| Self(asked)).map_err(|error| Problem::query(error.body_text()))
    }
}

/// The place that a cursor stands for.
fn place(cursor: &str) -> Option<(String, String)> {
    let place: (String, String) =
        serde_json::from_slice(&BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?).ok()?;
    // No row is behind such a place, and no database takes it.
    (!place.0.contains('\0') && !place.1.contains('\0')).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_the_place_it_was() {
        let listed = Listed { rows: vec![1, 2], next: Some(("nas".to_owned(), "01ABC".to_owned())) };
        let items = Items::of(listed, |row| row);
        assert_eq!(place(&items.next.unwrap()), Some(("nas".to_owned(), "01ABC".to_owned())));
        let hostile = BASE64URL_NOPAD.encode(br#"["\u0000",""]"#);
        for wrong in ["", "AAAA", "ä", hostile.as_str()] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }
}
