//! One run as a picture and as a page: a lane per consumer, who owned which stream when, what struck whom, who took
//! over. The page needs nothing but itself.

mod arrows;
mod colors;
mod crowd;
mod draw;
mod lanes;
mod page;
mod picture;
mod tables;
#[cfg(test)]
mod tests;

use crate::{facts::Fact, judge::Violation, plan::Plan, timeline::Timeline};

/// A run to be shown.
pub struct Report<'a> {
    title: String,
    about: Option<String>,
    plan: &'a Plan,
    facts: &'a [Fact],
    violations: &'a [Violation],
    timeline: Timeline,
}

/// A run as one HTML page, without any external resource.
pub fn html(plan: &Plan, facts: &[Fact], violations: &[Violation]) -> String {
    Report::new(plan, facts, violations).html()
}

/// A run as an SVG picture.
pub fn svg(plan: &Plan, facts: &[Fact], violations: &[Violation]) -> String {
    Report::new(plan, facts, violations).svg()
}

impl<'a> Report<'a> {
    /// Of a run of this plan.
    pub fn new(plan: &'a Plan, facts: &'a [Fact], violations: &'a [Violation]) -> Report<'a> {
        let last = facts.last().map(|fact| fact.at).unwrap_or_default();
        let end = last.max(streamkeeper::Time::ZERO + plan.heal_at + plan.calm);
        let timeline = Timeline::of(facts, end);
        Report { title: format!("Seed {}", plan.seed), about: None, plan, facts, violations, timeline }
    }

    /// Under another title than its seed.
    #[must_use]
    pub fn titled(self, title: impl Into<String>) -> Report<'a> {
        Report { title: title.into(), ..self }
    }

    /// With this below the title, instead of the plan's settings.
    #[must_use]
    pub fn about(self, about: impl Into<String>) -> Report<'a> {
        Report { about: Some(about.into()), ..self }
    }

    /// The page.
    pub fn html(&self) -> String {
        page::page(self)
    }

    /// The picture.
    pub fn svg(&self) -> String {
        picture::picture(self).0
    }

    /// What a consumer is called.
    fn name(&self, consumer: usize) -> String {
        self.plan.consumers.get(consumer).map_or_else(|| format!("c{consumer}"), |plan| plan.name.clone())
    }
}
