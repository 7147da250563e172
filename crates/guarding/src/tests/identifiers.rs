use proptest::prelude::*;

use super::*;
use crate::Category as C;
use crate::finding::resolve;

fn found(text: &str) -> Vec<(C, &str)> {
    let mut findings = Vec::new();
    find(text, &mut findings);
    findings.retain(|found| found.confidence >= 0.5);
    let kept = resolve(findings);
    kept.into_iter().map(|found| (found.category, &text[found.span])).collect()
}

#[test]
fn each_kind_is_found_in_its_usual_writing() {
    for (text, category, value) in [
        ("Звоните +7 916 123-45-67", C::Phone, "+7 916 123-45-67"),
        ("мой номер 8(916)1234567 вечером", C::Phone, "8(916)1234567"),
        ("тел. 89161234567", C::Phone, "89161234567"),
        ("телефон: 916 123 45 67", C::Phone, "916 123 45 67"),
        ("тел. 123-45-67", C::Phone, "123-45-67"),
        ("+44 20 7946 0958 London", C::Phone, "+44 20 7946 0958"),
        ("call me at (415) 555-2671", C::Phone, "(415) 555-2671"),
        (
            "восемь девятьсот шестнадцать сто двадцать три сорок пять шестьдесят семь",
            C::Phone,
            "восемь девятьсот шестнадцать сто двадцать три сорок пять шестьдесят семь",
        ),
        ("Почта: иван@почта.рф.", C::Email, "иван@почта.рф"),
        ("пиши на ivan.petrov собака mail точка ru", C::Email, "ivan.petrov собака mail точка ru"),
        ("ivan [at] example [dot] com", C::Email, "ivan [at] example [dot] com"),
        ("СНИЛС 112-233-445 95", C::Snils, "112-233-445 95"),
        ("снилс: 11223344595", C::Snils, "11223344595"),
        ("ИНН 500100732259", C::InnPerson, "500100732259"),
        ("ИНН организации 7707083893", C::InnOrganisation, "7707083893"),
        (r#"{"inn": "7707083893"}"#, C::InnOrganisation, "7707083893"),
        ("ОГРН 1027700132195", C::Ogrn, "1027700132195"),
        ("ОГРНИП 304500116000157", C::Ogrnip, "304500116000157"),
        ("КПП 773601001", C::Kpp, "773601001"),
        ("паспорт 45 08 123456", C::Passport, "45 08 123456"),
        ("Паспорт серия 4508 номер 123456 выдан ОВД", C::Passport, "4508 номер 123456"),
        ("паспорт 4508 № 123456", C::Passport, "4508 № 123456"),
        ("загранпаспорт 75 1234567", C::ForeignPassport, "75 1234567"),
        ("полис ОМС 7700001234567890", C::MedicalPolicy, "7700001234567890"),
        ("водительское удостоверение 77 12 345678", C::DriverLicence, "77 12 345678"),
        ("ВУ: 77 АВ 123456", C::DriverLicence, "77 АВ 123456"),
        ("машина А123ВС77", C::VehiclePlate, "А123ВС77"),
        ("госномер a 123 bc 777", C::VehiclePlate, "a 123 bc 777"),
        ("VIN XTA210990Y2766389", C::Vin, "XTA210990Y2766389"),
        ("свидетельство о рождении II-МЮ № 123456", C::BirthCertificate, "II-МЮ № 123456"),
        ("военный билет АБ 1234567", C::MilitaryId, "АБ 1234567"),
        ("карта 4276 3800 1234 5679", C::BankCard, "4276 3800 1234 5679"),
        ("2200123456789019", C::BankCard, "2200123456789019"),
        ("р/с 40702810938000060473, БИК 044525225", C::BankAccount, "40702810938000060473"),
        ("родился 12.05.1985 в Туле", C::DateOfBirth, "12.05.1985"),
        ("дата рождения: 5 мая 1990", C::DateOfBirth, "5 мая 1990"),
        ("IBAN DE89 3704 0044 0532 0130 00", C::Iban, "DE89 3704 0044 0532 0130 00"),
        ("SSN 219-09-9999", C::SocialSecurityNumber, "219-09-9999"),
        ("зашёл с 93.158.134.3 вчера", C::IpAddress, "93.158.134.3"),
        ("2a02:6b8::feed:ff ответил", C::IpAddress, "2a02:6b8::feed:ff"),
        (
            "живу: г. Москва, ул. Ленина, д. 5, кв. 17",
            C::PostalAddress,
            "г. Москва, ул. Ленина, д. 5, кв. 17",
        ),
        ("доставить на невский проспект, 28", C::PostalAddress, "невский проспект, 28"),
        (
            "I live at 742 Evergreen Terrace, Springfield",
            C::PostalAddress,
            "742 Evergreen Terrace, Springfield",
        ),
    ] {
        assert_eq!(found(text), [(category, value)], "{text}");
    }
}

#[test]
fn decoys_are_not_found() {
    for text in [
        "Заказ 7707083893 отправлен",
        "Артикул 4601234567893",
        "timestamp 1732406400000",
        "550e8400-e29b-41d4-a716-446655440000",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
        "ISBN 978-5-17-118366-1",
        "координаты 55.751244, 37.618423",
        "версия 1.2.3.4",
        "10.0.0.1 и 192.168.1.1",
        "цена 8 916 123 рублей",
        "1234 567890",
        "Собрание 12.05.2024 в 15:00",
        "СНИЛС 112-233-445 96",
        "ИНН 7707083894",
        "карта 4276 3800 1234 5670",
        "трек-номер 80512345678901",
        "телефонный справочник на 2024 год",
        "В 1985 году население составило 1 234 567 человек",
        "давление 120/80, пульс 72",
        "look at example.com and reply",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn several_on_a_line_are_each_found() {
    let text = "ИНН/КПП 7707083893/773601001, ОГРН 1027700132195, р/с 40702810938000060473";
    let kinds: Vec<C> = found(text).into_iter().map(|(category, _)| category).collect();
    assert_eq!(kinds, [C::InnOrganisation, C::Kpp, C::Ogrn, C::BankAccount]);
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "[\\PC\n]{0,200}") {
        let mut findings = Vec::new();
        find(&text, &mut findings);
        for found in findings {
            prop_assert!(text.get(found.span).is_some());
        }
    }

    #[test]
    fn numbers_are_survived(text in "[0-9 ()+.:/№АВСпасортикНИЛ-]{0,120}") {
        let mut findings = Vec::new();
        find(&text, &mut findings);
        for found in findings {
            prop_assert!(text.get(found.span).is_some());
        }
    }
}
