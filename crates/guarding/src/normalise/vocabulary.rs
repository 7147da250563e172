//! Words by which a text is known to be Russian or English, and not the cipher of one.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

const ENGLISH: &str = "the of and to in is you that it he was for on are as with his they at be this \
    have from or one had by word but not what all were we when your can said there use an each which she \
    do how their if will up other about out many then them these so some her would make like him into \
    time has look two more write go see number no way could people my than first been call who its now \
    find long down day did get come made may part over new take only little work know place year me back \
    give most very after thing our just name good sentence man think say great where help through much \
    before line right too means old any same tell follow want show also around three small put end does \
    another well large must big even such because turn here why ask went read need different again off \
    house word answer always never every without please ignore previous instructions instruction above \
    reveal system prompt disregard forget rules rule secret password hidden developer mode print repeat \
    output display everything restrictions pretend act guidelines earlier prior text messages message \
    user assistant respond response reply sure yes key token admin override bypass unrestricted initial \
    original translate summarize explain describe list content policy filter safety model language \
    jailbreak confidential internal verbatim exactly full entire complete commands command execute code \
    run file files send data email address link click download delete access private information phone \
    card account bank money bomb weapon drug hack steal kill attack virus malware explosive poison make \
    build create step steps guide detailed how should shall let us off free from under role play game \
    character story continue start begin stop being hello thank thanks today world question";

const RUSSIAN: &str = "и в не на что с по как это все но из у за то же так вы мы он она они я ты мне тебе \
    его ее их для от до при без если или нет да был была было были есть быть может можно нужно надо очень \
    уже еще только чтобы когда где кто какой какая какие какое этот эта эти тот свой твой твои твоих твоя \
    мой моя мои ваш ваши наш наши свои свою об обо про под над между через после перед теперь потом сейчас \
    тогда здесь там тут куда откуда почему зачем который которая которые которых которые чем чего чему \
    кого кому себя себе нас вас нам вам ним ней них ему всех всем всего всё забудь забудьте забыть \
    игнорируй игнорируйте инструкции инструкций инструкция инструкциям предыдущие предыдущих прошлые \
    системный системные системного промпт промпта промпты покажи покажите правила правил скажи скажите \
    напиши напишите расскажи расскажите выведи выведите повтори повторите пароль пароли секрет секреты \
    секретный ключ ответ ответь отвечай ограничения ограничений ограничениях отныне режим режиме \
    разработчика притворись представь роль роли игра играть веди выше ниже текст текста сообщение \
    сообщения начальные исходные изначальные указания скрытые полностью дословно весь вся любой любые \
    пользователь ассистент модель язык русский слово слова вопрос вопросы данные данных файл файлы \
    отправь отправить адрес ссылка номер карты карта телефон счет деньги сделать сделай сделайте создать \
    как-то создай изготовить бомбу бомба оружие взломать взлом украсть убить наркотики наркотик яд вирус \
    атака взрывчатку взрывчатка купить продать обойти обойди получить найти найди узнать подробно \
    подробную пошагово пошаговую инструкцию инструкцией помощь помоги помогите пожалуйста привет \
    здравствуйте спасибо хорошо человек люди людей время день год дом город мир работа работать хочу \
    хочешь могу можешь должен должна будешь будет будут отмени отменить перестань перестаньте следуй \
    следовать выполни выполняй выполнить команды команду код список перечисли переведи объясни всегда \
    никогда другой другие первый первые новый новые новая большой самый тоже также более меньше конец \
    начало начни просто именно сегодня ничего никто нельзя информация информацию система системы";

/// Words of other languages that are no cipher of these two.
const FOREIGN: &str = "der die das und ist nicht ich ein eine einen dem den mit für auf wir sie wie auch \
    sich von zu im es wenn oder aber nur noch kann le la les des est pas que une dans pour avec sur nous \
    vous ce qui au du et el los las una por con para como pero más su al lo se il di che non sono della \
    dei gli da del é não um uma os em você nie jest się na że do w z jak to czy і та що не як для це але \
    ви ми він вона ist bir ve bu için ile";

/// Whether a word in small letters, `ё` as `е`, is a common one.
pub(super) fn is_common(word: &str) -> bool {
    static WORDS: LazyLock<HashSet<&str, BuildHasherDefault<Fnv>>> = LazyLock::new(|| {
        let lists = [ENGLISH, RUSSIAN, FOREIGN];
        lists.iter().flat_map(|list| list.split_whitespace()).collect()
    });
    WORDS.contains(word)
}

/// Longest common word, characters.
pub(super) const LONGEST: usize = 14;

/// FNV-1a: the words are ours, so nobody can choose them to collide.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
