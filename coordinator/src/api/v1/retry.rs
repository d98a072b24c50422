//! `/links/{a}/{b}/retry`: a pair tries for a direct path now.

use lanyard_wire::ids::DeviceId;

use super::caller::Caller;
use super::problem::Problem;
use super::sent::{Gone, Named};
use crate::index::lists::{Filter, Page};

/// Have both ends try for a direct path now, if they are there; what comes of it they report as ever
#[utoipa::path(post, path = "/links/{a}/{b}/retry", params(("a" = String, Path), ("b" = String, Path)),
    responses((status = 204)))]
pub(super) async fn try_again(
    caller: Caller,
    Named((a, b)): Named<(String, String)>,
) -> Result<Gone, Problem> {
    let unknown = || Problem::not_found("link");
    let parse = |id: &str| id.to_ascii_lowercase().parse::<DeviceId>().map_err(|_| unknown());
    let (a, b) = (parse(&a)?, parse(&b)?);
    let filter = Filter { device: Some(a), peer: Some(b), ..Filter::default() };
    let seen = caller.index().links_page(&caller.grants, &filter, &Page::first(1)).await?;
    if seen.rows.is_empty() {
        return Err(unknown());
    }
    caller.index().try_again(a, b, &caller.actor()).await?;
    Ok(Gone)
}
