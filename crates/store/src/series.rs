//! What happened over time: the curve of a campaign, and the last days of a workspace, from counters by the minute.
//!
//! Never reads deliveries or attempts. Must not know time zones: days are made by who shows them.

use postrider_domain::id::{CampaignId, WorkspaceId};

use crate::Store;
use crate::error::Result;
use crate::sql::{Row, args, sql};

/// Most points of a curve.
const MOST_POINTS: i64 = 120;
/// Widths that people can read, in minutes.
const WIDTHS: [i64; 14] = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 4_320, 10_080];
/// The width of [`Store::quarters`], in minutes: every zone's midnight falls on such a border.
const QUARTER: i64 = 15;

/// What happened within a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// When the stretch begins, i64 milliseconds UTC.
    pub at: i64,
    /// Deliveries that a remote host accepted.
    pub accepted: i64,
    /// Deliveries that a remote host refused for good.
    pub rejected: i64,
    /// Deliveries that were given up.
    pub expired: i64,
    /// Attempts after which a delivery waits for another.
    pub deferred: i64,
}

/// The curve of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// The width of a stretch in minutes.
    pub minutes: i64,
    /// Stretches in which something happened, in order.
    pub points: Vec<Moment>,
}

/// The narrowest width at which so many minutes give at most [`MOST_POINTS`] points.
fn width(minutes: i64) -> i64 {
    let fits = |w: &&i64| minutes / **w < MOST_POINTS;
    WIDTHS.iter().find(fits).copied().unwrap_or_else(|| minutes / (MOST_POINTS - 1) + 1)
}

impl Moment {
    fn add(&mut self, name: &str, n: i64) {
        match name {
            "accepted" => self.accepted += n,
            "rejected" => self.rejected += n,
            "expired" => self.expired += n,
            "deferred" => self.deferred += n,
            // A later version counts more; this one does not show it.
            _ => {}
        }
    }
}

/// Rows of (stretch, name, n), in order of the stretch, as points.
fn points(rows: &[Row], minutes: i64) -> Result<Vec<Moment>> {
    let mut points: Vec<Moment> = Vec::new();
    for row in rows {
        let at = row.int("stretch")? * minutes * 60_000;
        if points.last().is_none_or(|last| last.at != at) {
            points.push(Moment { at, ..Moment::default() });
        }
        let (name, n) = (row.text("name")?, row.int("n")?);
        if let Some(last) = points.last_mut() {
            last.add(&name, n);
        }
    }
    Ok(points)
}

impl Store {
    /// The curve of a campaign: at most 120 points, as wide as that needs.
    ///
    /// # Errors
    /// The workspace has no such campaign.
    pub async fn series(&self, workspace: WorkspaceId, campaign: CampaignId) -> Result<Series> {
        self.campaign(workspace, campaign).await?;
        let mut reader = self.snapshot().await?;
        let span = reader
            .one(
                sql!(
                    "SELECT min(minute) AS first, max(minute) AS last FROM minute_counter \
                     WHERE workspace_id = $1 AND campaign_id = $2"
                ),
                args![workspace, campaign],
            )
            .await?;
        let (Some(first), Some(last)) = (span.int_opt("first")?, span.int_opt("last")?) else {
            return Ok(Series { minutes: 1, points: Vec::new() });
        };
        // One more, because the first stretch may begin before the first minute.
        let minutes = width(last - first + 1);
        let rows = reader
            .all(
                sql!(
                    "SELECT minute / $3 AS stretch, name, CAST(sum(value) AS BIGINT) AS n FROM minute_counter \
                     WHERE workspace_id = $1 AND campaign_id = $2 GROUP BY minute / $3, name ORDER BY 1, 2"
                ),
                args![workspace, campaign, minutes],
            )
            .await?;
        Ok(Series { minutes, points: points(&rows, minutes)? })
    }

    /// What happened in the whole workspace since a time, by the quarter of an hour.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn quarters(&self, workspace: WorkspaceId, since: i64) -> Result<Vec<Moment>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT minute / $3 AS stretch, name, CAST(sum(value) AS BIGINT) AS n FROM minute_counter \
                     WHERE workspace_id = $1 AND minute >= $2 GROUP BY minute / $3, name ORDER BY 1, 2"
                ),
                args![workspace, since.div_euclid(60_000), QUARTER],
            )
            .await?;
        points(&rows, QUARTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_never_has_more_than_120_points() {
        for minutes in (1..300).chain([1_440, 10_000, 525_600, 10_000_000]) {
            let w = width(minutes);
            // Borders fall where the clock has them, so that one stretch more may be touched.
            assert!(minutes / w < MOST_POINTS, "{minutes} {w}");
        }
        assert_eq!(width(119), 1);
        assert_eq!(width(120), 2);
        assert_eq!(width(24 * 60), 15);
    }
}
