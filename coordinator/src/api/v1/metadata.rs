//! `/…/metadata`: what people write about users, networks, devices and members.

use std::collections::BTreeMap;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::problem::Problem;
use super::sent::{Named, Sent, invalid, word};
use super::{devices, members, users};
use crate::index::metadata::{Datum, Key, Subject, Visibility, Wish};

/// Most entries of one request: as many as a thing has, each set or removed.
const CHANGES_MAX: usize = 128;

/// Entries, by key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MetadataView {
    entries: BTreeMap<String, EntryView>,
}

/// An entry.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EntryView {
    value: String,
    /// `self`, `admins`, `members` or `public`: who may read it.
    visibility: &'static str,
    /// Who wrote it last: the id of a user or device, or the name of an operator.
    updated_by: String,
    updated_at: i64,
}

/// What is to change; entries that are not named stay as they are.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MetadataBody {
    /// By key, of a-z 0-9 . _ -; null removes an entry.
    #[schema(value_type = BTreeMap<String, EntryBody>)]
    entries: BTreeMap<String, Option<EntryBody>>,
}

/// An entry to be written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryBody {
    /// One line.
    #[schema(min_length = 1, max_length = 1024)]
    value: String,
    /// Who may read it: `self`, `admins`, `members` (as if nothing is said of a new one) or `public`.
    #[schema(pattern = "^(self|admins|members|public)$")]
    visibility: Option<String>,
}

impl MetadataBody {
    fn wishes(self) -> Result<Vec<(Key, Wish)>, Problem> {
        if self.entries.len() > CHANGES_MAX {
            return Err(invalid(format!("entries: at most {CHANGES_MAX} at once")));
        }
        let wish = |(key, entry): (String, Option<EntryBody>)| {
            let key = key.parse().map_err(|why| invalid(format!("{key}: {why}")))?;
            let Some(entry) = entry else { return Ok((key, Wish::Unset)) };
            let visibility: Option<Visibility> =
                entry.visibility.map(|text| word("visibility", &text)).transpose()?;
            Ok((key, Wish::Set(entry.value, visibility)))
        };
        self.entries.into_iter().map(wish).collect()
    }
}

fn shown(entries: Vec<Datum>) -> Json<MetadataView> {
    let view = |entry: Datum| {
        let Datum { key, value, visibility, updated_by, updated_at } = entry;
        (key.to_string(), EntryView { value, visibility: visibility.as_str(), updated_by, updated_at })
    };
    Json(MetadataView { entries: entries.into_iter().map(view).collect() })
}

async fn read(caller: &Caller, subject: &Subject) -> Result<Json<MetadataView>, Problem> {
    Ok(shown(caller.index().metadata(subject, Some(&caller.grants)).await?))
}

async fn write(
    caller: &Caller,
    subject: &Subject,
    body: MetadataBody,
) -> Result<Json<MetadataView>, Problem> {
    caller.index().set_metadata(subject, &body.wishes()?, &caller.actor()).await?;
    read(caller, subject).await
}

async fn user(caller: &Caller, id: &str) -> Result<Subject, Problem> {
    Ok(Subject::User(users::seen(caller, id).await?.id))
}

async fn network(caller: &Caller, name: &str) -> Result<Subject, Problem> {
    Ok(Subject::Network(caller.network(name).await?.id))
}

async fn device(caller: &Caller, id: &str) -> Result<Subject, Problem> {
    let device = devices::seen(caller, id).await?;
    Ok(Subject::Device { id: device.id, owner: device.user_id })
}

async fn member(caller: &Caller, (network, id): &(String, String)) -> Result<Subject, Problem> {
    let (_, member) = members::seen(caller, network, id).await?;
    Ok(Subject::Member { id: member.id, network: member.network_id, owner: member.owner })
}

/// What is written about a user, as far as one may read it
#[utoipa::path(get, path = "/users/{id}/metadata", params(("id" = String, Path)),
    responses((status = 200, body = MetadataView)))]
pub(super) async fn of_user(caller: Caller, Named(id): Named<String>) -> Result<Json<MetadataView>, Problem> {
    read(&caller, &user(&caller, &id).await?).await
}

/// Write about a user: the user themselves, or an administrator of the server
#[utoipa::path(patch, path = "/users/{id}/metadata", params(("id" = String, Path)),
    request_body = MetadataBody, responses((status = 200, body = MetadataView)))]
pub(super) async fn about_user(
    caller: Caller,
    Named(id): Named<String>,
    Sent(body): Sent<MetadataBody>,
) -> Result<Json<MetadataView>, Problem> {
    write(&caller, &user(&caller, &id).await?, body).await
}

/// What is written about a network, as far as one may read it
#[utoipa::path(get, path = "/networks/{network}/metadata", params(("network" = String, Path)),
    responses((status = 200, body = MetadataView)))]
pub(super) async fn of_network(
    caller: Caller,
    Named(name): Named<String>,
) -> Result<Json<MetadataView>, Problem> {
    read(&caller, &network(&caller, &name).await?).await
}

/// Write about a network: its administrators
#[utoipa::path(patch, path = "/networks/{network}/metadata", params(("network" = String, Path)),
    request_body = MetadataBody, responses((status = 200, body = MetadataView)))]
pub(super) async fn about_network(
    caller: Caller,
    Named(name): Named<String>,
    Sent(body): Sent<MetadataBody>,
) -> Result<Json<MetadataView>, Problem> {
    write(&caller, &network(&caller, &name).await?, body).await
}

/// What is written about a device, as far as one may read it
#[utoipa::path(get, path = "/devices/{id}/metadata", params(("id" = String, Path)),
    responses((status = 200, body = MetadataView)))]
pub(super) async fn of_device(
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Json<MetadataView>, Problem> {
    read(&caller, &device(&caller, &id).await?).await
}

/// Write about a device: its user, or an administrator of the server
#[utoipa::path(patch, path = "/devices/{id}/metadata", params(("id" = String, Path)),
    request_body = MetadataBody, responses((status = 200, body = MetadataView)))]
pub(super) async fn about_device(
    caller: Caller,
    Named(id): Named<String>,
    Sent(body): Sent<MetadataBody>,
) -> Result<Json<MetadataView>, Problem> {
    write(&caller, &device(&caller, &id).await?, body).await
}

/// What is written about a device in one network, as far as one may read it
#[utoipa::path(get, path = "/networks/{network}/members/{id}/metadata",
    params(("network" = String, Path), ("id" = String, Path)), responses((status = 200, body = MetadataView)))]
pub(super) async fn of_member(
    caller: Caller,
    Named(path): Named<(String, String)>,
) -> Result<Json<MetadataView>, Problem> {
    read(&caller, &member(&caller, &path).await?).await
}

/// Write about a device in one network: administrators of the network, or its user
#[utoipa::path(patch, path = "/networks/{network}/members/{id}/metadata",
    params(("network" = String, Path), ("id" = String, Path)),
    request_body = MetadataBody, responses((status = 200, body = MetadataView)))]
pub(super) async fn about_member(
    caller: Caller,
    Named(path): Named<(String, String)>,
    Sent(body): Sent<MetadataBody>,
) -> Result<Json<MetadataView>, Problem> {
    write(&caller, &member(&caller, &path).await?, body).await
}
