//! What detectors of personal data and secrets find.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Kind of what was found.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Name of a person, with surname, patronymic and initials as far as they are there.
    PersonName,
    /// Telephone number of any country.
    Phone,
    /// Address of electronic mail, spelled out or not.
    Email,
    /// Postal address.
    PostalAddress,
    /// Internal passport of Russia: series and number.
    Passport,
    /// Passport of Russia for travel abroad.
    ForeignPassport,
    /// INN of an organisation, 10 digits.
    InnOrganisation,
    /// INN of a person, 12 digits.
    InnPerson,
    /// SNILS, number of the pension account.
    Snils,
    /// OGRN, state number of an organisation.
    Ogrn,
    /// OGRNIP, state number of a sole trader.
    Ogrnip,
    /// KPP, reason of registration of an organisation.
    Kpp,
    /// Policy of compulsory medical insurance.
    MedicalPolicy,
    /// Driver's licence of Russia.
    DriverLicence,
    /// Registration plate of a vehicle.
    VehiclePlate,
    /// VIN, vehicle identification number.
    Vin,
    /// Birth certificate of Russia.
    BirthCertificate,
    /// Military identity card of Russia.
    MilitaryId,
    /// Bank card.
    BankCard,
    /// Account at a bank of Russia.
    BankAccount,
    /// Date of birth.
    DateOfBirth,
    /// IBAN.
    Iban,
    /// Social security number of the United States.
    SocialSecurityNumber,
    /// Address of the Internet protocol.
    IpAddress,
    /// Key of an API.
    ApiKey,
    /// JSON web token.
    JsonWebToken,
    /// Private key.
    PrivateKey,
    /// Connection string with a password.
    ConnectionString,
    /// Password or another secret that its context gives away.
    Secret,
}

/// What a category is a kind of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Tells of a person.
    PersonalData,
    /// Tells of an organisation only.
    Organisation,
    /// Opens something.
    Secret,
}

impl Category {
    /// All of them.
    pub const ALL: [Self; 29] = [
        Self::PersonName,
        Self::Phone,
        Self::Email,
        Self::PostalAddress,
        Self::Passport,
        Self::ForeignPassport,
        Self::InnOrganisation,
        Self::InnPerson,
        Self::Snils,
        Self::Ogrn,
        Self::Ogrnip,
        Self::Kpp,
        Self::MedicalPolicy,
        Self::DriverLicence,
        Self::VehiclePlate,
        Self::Vin,
        Self::BirthCertificate,
        Self::MilitaryId,
        Self::BankCard,
        Self::BankAccount,
        Self::DateOfBirth,
        Self::Iban,
        Self::SocialSecurityNumber,
        Self::IpAddress,
        Self::ApiKey,
        Self::JsonWebToken,
        Self::PrivateKey,
        Self::ConnectionString,
        Self::Secret,
    ];

    /// Its name in configuration and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PersonName => "person_name",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::PostalAddress => "postal_address",
            Self::Passport => "passport",
            Self::ForeignPassport => "foreign_passport",
            Self::InnOrganisation => "inn_organisation",
            Self::InnPerson => "inn_person",
            Self::Snils => "snils",
            Self::Ogrn => "ogrn",
            Self::Ogrnip => "ogrnip",
            Self::Kpp => "kpp",
            Self::MedicalPolicy => "medical_policy",
            Self::DriverLicence => "driver_licence",
            Self::VehiclePlate => "vehicle_plate",
            Self::Vin => "vin",
            Self::BirthCertificate => "birth_certificate",
            Self::MilitaryId => "military_id",
            Self::BankCard => "bank_card",
            Self::BankAccount => "bank_account",
            Self::DateOfBirth => "date_of_birth",
            Self::Iban => "iban",
            Self::SocialSecurityNumber => "social_security_number",
            Self::IpAddress => "ip_address",
            Self::ApiKey => "api_key",
            Self::JsonWebToken => "json_web_token",
            Self::PrivateKey => "private_key",
            Self::ConnectionString => "connection_string",
            Self::Secret => "secret",
        }
    }

    /// What it is a kind of.
    #[must_use]
    pub fn group(self) -> Group {
        match self {
            Self::InnOrganisation | Self::Ogrn | Self::Kpp => Group::Organisation,
            Self::ApiKey
            | Self::JsonWebToken
            | Self::PrivateKey
            | Self::ConnectionString
            | Self::Secret => Group::Secret,
            _ => Group::PersonalData,
        }
    }
}

/// Something that a detector found.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Kind of it.
    pub category: Category,
    /// Bytes of the original text, on boundaries of characters.
    pub span: Range<usize>,
    /// From 0 to 1, by shape, checksum and context.
    pub confidence: f32,
    /// Which rule found it; stable.
    pub rule: &'static str,
}

/// Leaves of findings that overlap the one with the higher confidence, of equals the longer one,
/// of those the first; sorted by place.
#[must_use]
pub fn resolve(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|one, other| {
        (other.confidence.total_cmp(&one.confidence))
            .then(other.span.len().cmp(&one.span.len()))
            .then(one.span.start.cmp(&other.span.start))
    });
    let mut kept: std::collections::BTreeMap<usize, Finding> = std::collections::BTreeMap::new();
    for finding in findings {
        let before = kept.range(..finding.span.end).next_back();
        if before.is_none_or(|(_, before)| before.span.end <= finding.span.start) {
            kept.insert(finding.span.start, finding);
        }
    }
    kept.into_values().collect()
}
