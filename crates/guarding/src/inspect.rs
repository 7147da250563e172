//! Looks at texts with all detectors and says, by a policy, what is to be done.

use std::ops::Range;

use chat::Sensitivity;

use crate::attacks::{AttackDetectors, AttackScores};
use crate::finding::{Category, Finding, Group, resolve};
use crate::normalise::{Options, Views, canonical};
use crate::policy::{DataAction, DataActions, GuardPolicy, Risk, RiskAction, SystemMessages};
use crate::pseudonyms::{Pseudonyms, masked, redacted};
use crate::{Channel, identifiers, names, secrets};

/// A text to look at.
#[derive(Debug, Clone, Copy)]
pub struct Inspected<'t> {
    /// Where it comes from.
    pub channel: Channel,
    /// The text itself.
    pub text: &'t str,
}

/// Something found in a text, with what is done about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// Which of the texts.
    pub text: usize,
    /// Kind: a category of data, or a family of attacks.
    pub kind: String,
    /// Bytes of the text.
    pub span: Range<usize>,
    /// From 0 to 1.
    pub confidence: f32,
    /// Which rule found it.
    pub rule: String,
    /// For data: its category and what is done with it.
    pub data: Option<(Category, DataAction)>,
}

/// Why a request or an answer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardRefusal {
    /// Data of this kind may not go through.
    Data(Category),
    /// An attack.
    Attack(Risk),
    /// A request for what harms.
    Content(Risk),
    /// Callers may send no system messages.
    SystemMessage,
    /// The answer gives the system prompt away.
    PromptLeak,
}

impl GuardRefusal {
    /// Its stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Data(category) if category.group() == Group::Secret => "secret_not_allowed",
            Self::Data(_) => "personal_data_not_allowed",
            Self::Attack(_) => "prompt_injection_detected",
            Self::Content(_) => "unsafe_content_detected",
            Self::SystemMessage => "system_message_not_allowed",
            Self::PromptLeak => "system_prompt_leaked",
        }
    }
}

/// What came of looking at texts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inspection {
    /// All that was found, in order of text and place.
    pub detections: Vec<Detection>,
    /// How probable an attack is, 0 to 1.
    pub attack: f32,
    /// How sure it is that one of the texts is an attack.
    pub risk: Risk,
    /// How sure it is that one asks for what harms.
    pub content_risk: Risk,
    /// How sensitive the texts are, once what is taken out of them is out.
    pub sensitivity: Sensitivity,
    /// The strictest thing that is done about attacks and content.
    pub action: RiskAction,
    /// Why it is refused; also where the policy only watches.
    pub refusal: Option<GuardRefusal>,
}

/// In a word, what comes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It goes through as it is.
    Allow,
    /// It goes through, and something was found.
    Flag,
    /// It goes through changed.
    Redact,
    /// It does not go through.
    Block,
}

impl Verdict {
    /// Its name in answers and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Flag => "flag",
            Self::Redact => "redact",
            Self::Block => "block",
        }
    }
}

impl Inspection {
    /// What comes of it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.refusal.is_some() {
            return Verdict::Block;
        }
        let actions = self.detections.iter().filter_map(|detection| detection.data);
        let strictest = actions.map(|(_, action)| action).max().unwrap_or_default();
        if strictest.rewrites() {
            Verdict::Redact
        } else if strictest == DataAction::Flag || self.action >= RiskAction::Flag {
            Verdict::Flag
        } else {
            Verdict::Allow
        }
    }

    /// What takes the place of data that is rewritten: text, bytes of it, and the new text.
    /// Reversible placeholders come from `pseudonyms`.
    pub fn replacements(
        &self,
        texts: &[Inspected<'_>],
        pseudonyms: &mut Pseudonyms,
    ) -> Vec<(usize, Range<usize>, String)> {
        let mut replacements = Vec::new();
        for detection in &self.detections {
            let Some((category, action)) = detection.data else { continue };
            let Some(text) = texts.get(detection.text).map(|inspected| inspected.text) else {
                continue;
            };
            let value = text.get(detection.span.clone()).unwrap_or_default();
            let by = match action {
                DataAction::Pseudonymise => pseudonyms.placeholder(category, value, text),
                DataAction::Mask => masked(value),
                DataAction::Redact => redacted(category),
                DataAction::Allow | DataAction::Flag | DataAction::Reject => continue,
            };
            replacements.push((detection.text, detection.span.clone(), by));
        }
        replacements
    }
}

/// What never counts as found.
#[derive(Debug, Clone, Default)]
pub struct Exceptions {
    rules: Vec<String>,
    texts: Vec<String>,
}

impl Exceptions {
    /// Rules by id, and literal texts that are no data, compared without regard to case and spaces.
    #[must_use]
    pub fn new(rules: &[String], texts: &[String]) -> Self {
        Self { rules: rules.to_vec(), texts: texts.iter().map(|text| squeezed(text)).collect() }
    }

    fn has_rule(&self, rule: &str) -> bool {
        self.rules.iter().any(|allowed| allowed == rule)
    }

    fn has_text(&self, text: &str) -> bool {
        !self.texts.is_empty() && self.texts.contains(&squeezed(text))
    }
}

fn squeezed(text: &str) -> String {
    let kept = text.chars().filter(|character| !character.is_whitespace());
    kept.flat_map(char::to_lowercase).collect()
}

/// All detectors, ready to look.
#[derive(Debug)]
pub struct Inspector {
    attacks: AttackDetectors,
    exceptions: Exceptions,
}

impl Inspector {
    /// Detectors with these patterns, but for exceptions.
    #[must_use]
    pub fn new(attacks: AttackDetectors, exceptions: Exceptions) -> Self {
        Self { attacks, exceptions }
    }

    /// Looks at what goes to a model.
    #[must_use]
    pub fn inspect_input(&self, texts: &[Inspected<'_>], policy: &GuardPolicy) -> Inspection {
        let mut inspection = Inspection::default();
        for (number, inspected) in texts.iter().enumerate() {
            let refused = policy.system_messages == SystemMessages::Refuse
                && inspected.channel == Channel::System;
            if refused {
                inspection.refusal = Some(GuardRefusal::SystemMessage);
            }
            let views = views(inspected.text);
            self.find_data(number, inspected.text, &views, policy, &policy.input, &mut inspection);
            self.find_attacks(number, *inspected, &views, policy, &mut inspection);
            let text = inspected.text;
            let marked = marked(text, policy);
            inspection.sensitivity = inspection.sensitivity.max(marked);
        }
        decide(&mut inspection, policy);
        inspection
    }

    /// Looks at what goes to the caller, but for `known`: what the caller sent.
    #[must_use]
    pub fn inspect_output(
        &self,
        texts: &[Inspected<'_>],
        policy: &GuardPolicy,
        known: impl Fn(&str) -> bool,
    ) -> Inspection {
        let mut inspection = Inspection::default();
        if policy.output.is_idle() {
            return inspection;
        }
        for (number, inspected) in texts.iter().enumerate() {
            let views = views(inspected.text);
            let (text, actions) = (inspected.text, &policy.output);
            self.find_data(number, text, &views, policy, actions, &mut inspection);
        }
        inspection.detections.retain(|detection| {
            let text = texts.get(detection.text).map(|inspected| inspected.text);
            text.and_then(|text| text.get(detection.span.clone()))
                .is_some_and(|value| !known(value))
        });
        decide(&mut inspection, policy);
        inspection
    }

    fn find_data(
        &self,
        number: usize,
        text: &str,
        views: &Views,
        policy: &GuardPolicy,
        actions: &DataActions,
        inspection: &mut Inspection,
    ) {
        if actions.is_idle() {
            return;
        }
        let wants_names = actions.of(Category::PersonName) != DataAction::Allow;
        let mut found: Vec<Finding> = Vec::new();
        let mut in_view = Vec::new();
        for (view, steps) in views.iter() {
            if !steps.keep_data() {
                continue;
            }
            identifiers::find(view.text(), &mut in_view);
            secrets::find(view.text(), &mut in_view);
            if wants_names {
                names::find(view.text(), &mut in_view);
            }
            found.extend(
                in_view
                    .drain(..)
                    .map(|finding| Finding { span: view.original(finding.span), ..finding }),
            );
        }
        found.retain(|finding| {
            finding.confidence >= policy.min_confidence
                && actions.of(finding.category) != DataAction::Allow
                && !finding.span.is_empty()
                && !self.exceptions.has_rule(finding.rule)
                && !self.exceptions.has_text(text.get(finding.span.clone()).unwrap_or_default())
        });
        inspection.detections.extend(resolve(found).into_iter().map(|finding| Detection {
            text: number,
            kind: finding.category.name().to_owned(),
            confidence: finding.confidence,
            rule: finding.rule.to_owned(),
            data: Some((finding.category, actions.of(finding.category))),
            span: finding.span,
        }));
    }

    fn find_attacks(
        &self,
        number: usize,
        inspected: Inspected<'_>,
        views: &Views,
        policy: &GuardPolicy,
        inspection: &mut Inspection,
    ) {
        let idle = policy.attacks.critical == RiskAction::Allow
            && policy.content.critical == RiskAction::Allow;
        // What the operator and the model said attacks nobody.
        let trusted = matches!(inspected.channel, Channel::System | Channel::Assistant);
        if idle || trusted {
            return;
        }
        let AttackScores { attack, risk, content_risk, hits } =
            self.attacks.look(inspected.channel, views, |rule| self.exceptions.has_rule(rule));
        inspection.attack = inspection.attack.max(attack);
        inspection.risk = inspection.risk.max(risk);
        inspection.content_risk = inspection.content_risk.max(content_risk);
        inspection.detections.extend(hits.into_iter().map(|hit| Detection {
            text: number,
            kind: hit.kind,
            span: hit.span,
            confidence: hit.confidence,
            rule: hit.rule,
            data: None,
        }));
    }
}

/// The text without disguise, in all the ways in which it can be read.
fn views(text: &str) -> Views {
    Views::of(text, &Options::default())
}

/// As how sensitive its own words mark a text.
fn marked(text: &str, policy: &GuardPolicy) -> Sensitivity {
    if policy.markers.is_empty() {
        return Sensitivity::Public;
    }
    let text = canonical(text).text().to_lowercase();
    let found = policy.markers.iter().filter(|(marker, _)| text.contains(marker.as_str()));
    found.map(|(_, sensitivity)| *sensitivity).max().unwrap_or_default()
}

fn decide(inspection: &mut Inspection, policy: &GuardPolicy) {
    let attacks = policy.attacks.at(inspection.risk);
    let content = policy.content.at(inspection.content_risk);
    inspection.action = attacks.max(content);
    let mut refusal = inspection.refusal;
    if attacks.refuses() {
        refusal = refusal.or(Some(GuardRefusal::Attack(inspection.risk)));
    }
    if content.refuses() {
        refusal = refusal.or(Some(GuardRefusal::Content(inspection.content_risk)));
    }
    for (category, action) in inspection.detections.iter().filter_map(|found| found.data) {
        if action == DataAction::Reject {
            refusal = refusal.or(Some(GuardRefusal::Data(category)));
        }
        if policy.classifies && !action.rewrites() {
            inspection.sensitivity = inspection.sensitivity.max(match category.group() {
                Group::PersonalData => Sensitivity::Sensitive,
                Group::Secret => Sensitivity::Confidential,
                Group::Organisation => Sensitivity::Internal,
            });
        }
    }
    inspection.refusal = refusal;
}
