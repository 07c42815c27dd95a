"""The words every notice is told in, one table per locale; `gateway.core.catalogue` picks from it.

Rules: each line is (title, body), in the order of `Change`, recording first; a text names the feature it is
about and states a fact only, for consent is a level of its own and never presumed from being told.
"""

from __future__ import annotations

from typing import Final

Lines = tuple[tuple[str, str], ...]

TEXTS: Final[dict[str, tuple[Lines, Lines]]] = {
    "en": (
        (
            ("Recording has started.", "This call is being recorded."),
            ("Recording is paused.", "This call is not being recorded at the moment."),
            ("Recording has resumed.", "This call is being recorded again."),
            ("Recording has stopped.", "This call is no longer being recorded."),
            ("Recording has failed.", "Because of an error this call is not being recorded."),
        ),
        (
            ("Transcription has started.", "This call is being transcribed."),
            ("Transcription is paused.", "This call is not being transcribed at the moment."),
            ("Transcription has resumed.", "This call is being transcribed again."),
            ("Transcription has stopped.", "This call is no longer being transcribed."),
            ("Transcription has failed.", "Because of an error this call is not being transcribed."),
        ),
    ),
    "ar": (
        (
            ("بدأ التسجيل.", "يجري الآن تسجيل هذه المكالمة."),
            ("التسجيل متوقف مؤقتًا.", "لا يجري تسجيل هذه المكالمة حاليًا."),
            ("استؤنف التسجيل.", "يجري تسجيل هذه المكالمة مجددًا."),
            ("توقف التسجيل.", "لم يعد يجري تسجيل هذه المكالمة."),
            ("فشل التسجيل.", "بسبب خطأ لا يجري تسجيل هذه المكالمة."),
        ),
        (
            ("بدأ النسخ النصي.", "يجري الآن نسخ هذه المكالمة نصيًا."),
            ("النسخ النصي متوقف مؤقتًا.", "لا يجري نسخ هذه المكالمة نصيًا حاليًا."),
            ("استؤنف النسخ النصي.", "يجري نسخ هذه المكالمة نصيًا مجددًا."),
            ("توقف النسخ النصي.", "لم يعد يجري نسخ هذه المكالمة نصيًا."),
            ("فشل النسخ النصي.", "بسبب خطأ لا يجري نسخ هذه المكالمة نصيًا."),
        ),
    ),
    "cs": (
        (
            ("Nahrávání bylo zahájeno.", "Tento hovor se nahrává."),
            ("Nahrávání je pozastaveno.", "Tento hovor se nyní nenahrává."),
            ("Nahrávání pokračuje.", "Tento hovor se opět nahrává."),
            ("Nahrávání bylo ukončeno.", "Tento hovor se již nenahrává."),
            ("Nahrávání selhalo.", "Kvůli chybě se tento hovor nenahrává."),
        ),
        (
            ("Přepis byl zahájen.", "Tento hovor se přepisuje."),
            ("Přepis je pozastaven.", "Tento hovor se nyní nepřepisuje."),
            ("Přepis pokračuje.", "Tento hovor se opět přepisuje."),
            ("Přepis byl ukončen.", "Tento hovor se již nepřepisuje."),
            ("Přepis selhal.", "Kvůli chybě se tento hovor nepřepisuje."),
        ),
    ),
    "da": (
        (
            ("Optagelsen er startet.", "Dette opkald optages."),
            ("Optagelsen er sat på pause.", "Dette opkald optages ikke lige nu."),
            ("Optagelsen er genoptaget.", "Dette opkald optages igen."),
            ("Optagelsen er stoppet.", "Dette opkald optages ikke længere."),
            ("Optagelsen mislykkedes.", "På grund af en fejl optages dette opkald ikke."),
        ),
        (
            ("Transskriptionen er startet.", "Dette opkald transskriberes."),
            ("Transskriptionen er sat på pause.", "Dette opkald transskriberes ikke lige nu."),
            ("Transskriptionen er genoptaget.", "Dette opkald transskriberes igen."),
            ("Transskriptionen er stoppet.", "Dette opkald transskriberes ikke længere."),
            ("Transskriptionen mislykkedes.", "På grund af en fejl transskriberes dette opkald ikke."),
        ),
    ),
    "de": (
        (
            ("Die Aufzeichnung hat begonnen.", "Dieser Anruf wird aufgezeichnet."),
            ("Die Aufzeichnung ist angehalten.", "Dieser Anruf wird zurzeit nicht aufgezeichnet."),
            ("Die Aufzeichnung wird fortgesetzt.", "Dieser Anruf wird wieder aufgezeichnet."),
            ("Die Aufzeichnung ist beendet.", "Dieser Anruf wird nicht mehr aufgezeichnet."),
            (
                "Die Aufzeichnung ist fehlgeschlagen.",
                "Wegen eines Fehlers wird dieser Anruf nicht aufgezeichnet.",
            ),
        ),
        (
            ("Die Transkription hat begonnen.", "Dieser Anruf wird transkribiert."),
            ("Die Transkription ist angehalten.", "Dieser Anruf wird zurzeit nicht transkribiert."),
            ("Die Transkription wird fortgesetzt.", "Dieser Anruf wird wieder transkribiert."),
            ("Die Transkription ist beendet.", "Dieser Anruf wird nicht mehr transkribiert."),
            (
                "Die Transkription ist fehlgeschlagen.",
                "Wegen eines Fehlers wird dieser Anruf nicht transkribiert.",
            ),
        ),
    ),
    "es": (
        (
            ("La grabación ha comenzado.", "Esta llamada se está grabando."),
            ("La grabación está en pausa.", "Esta llamada no se está grabando en este momento."),
            ("La grabación se ha reanudado.", "Esta llamada se está grabando de nuevo."),
            ("La grabación se ha detenido.", "Esta llamada ya no se está grabando."),
            ("La grabación ha fallado.", "Debido a un error, esta llamada no se está grabando."),
        ),
        (
            ("La transcripción ha comenzado.", "Esta llamada se está transcribiendo."),
            ("La transcripción está en pausa.", "Esta llamada no se está transcribiendo en este momento."),
            ("La transcripción se ha reanudado.", "Esta llamada se está transcribiendo de nuevo."),
            ("La transcripción se ha detenido.", "Esta llamada ya no se está transcribiendo."),
            ("La transcripción ha fallado.", "Debido a un error, esta llamada no se está transcribiendo."),
        ),
    ),
    "fi": (
        (
            ("Tallennus on alkanut.", "Tätä puhelua tallennetaan."),
            ("Tallennus on keskeytetty.", "Tätä puhelua ei tallenneta juuri nyt."),
            ("Tallennus jatkuu.", "Tätä puhelua tallennetaan taas."),
            ("Tallennus on päättynyt.", "Tätä puhelua ei enää tallenneta."),
            ("Tallennus epäonnistui.", "Virheen vuoksi tätä puhelua ei tallenneta."),
        ),
        (
            ("Litterointi on alkanut.", "Tätä puhelua litteroidaan."),
            ("Litterointi on keskeytetty.", "Tätä puhelua ei litteroida juuri nyt."),
            ("Litterointi jatkuu.", "Tätä puhelua litteroidaan taas."),
            ("Litterointi on päättynyt.", "Tätä puhelua ei enää litteroida."),
            ("Litterointi epäonnistui.", "Virheen vuoksi tätä puhelua ei litteroida."),
        ),
    ),
    "fr": (
        (
            ("L'enregistrement a commencé.", "Cet appel est enregistré."),
            ("L'enregistrement est en pause.", "Cet appel n'est pas enregistré pour le moment."),
            ("L'enregistrement a repris.", "Cet appel est de nouveau enregistré."),
            ("L'enregistrement est arrêté.", "Cet appel n'est plus enregistré."),
            ("L'enregistrement a échoué.", "En raison d'une erreur, cet appel n'est pas enregistré."),
        ),
        (
            ("La transcription a commencé.", "Cet appel est transcrit."),
            ("La transcription est en pause.", "Cet appel n'est pas transcrit pour le moment."),
            ("La transcription a repris.", "Cet appel est de nouveau transcrit."),
            ("La transcription est arrêtée.", "Cet appel n'est plus transcrit."),
            ("La transcription a échoué.", "En raison d'une erreur, cet appel n'est pas transcrit."),
        ),
    ),
    "it": (
        (
            ("La registrazione è iniziata.", "Questa chiamata viene registrata."),
            ("La registrazione è in pausa.", "Al momento questa chiamata non viene registrata."),
            ("La registrazione è ripresa.", "Questa chiamata viene di nuovo registrata."),
            ("La registrazione è terminata.", "Questa chiamata non viene più registrata."),
            (
                "La registrazione non è riuscita.",
                "A causa di un errore questa chiamata non viene registrata.",
            ),
        ),
        (
            ("La trascrizione è iniziata.", "Questa chiamata viene trascritta."),
            ("La trascrizione è in pausa.", "Al momento questa chiamata non viene trascritta."),
            ("La trascrizione è ripresa.", "Questa chiamata viene di nuovo trascritta."),
            ("La trascrizione è terminata.", "Questa chiamata non viene più trascritta."),
            ("La trascrizione non è riuscita.", "A causa di un errore questa chiamata non viene trascritta."),
        ),
    ),
    "ja": (
        (
            ("録音・録画が開始されました。", "この通話は録音・録画されています。"),
            ("録音・録画は一時停止中です。", "この通話は現在、録音・録画されていません。"),
            ("録音・録画が再開されました。", "この通話は再び録音・録画されています。"),
            ("録音・録画が停止しました。", "この通話はもう録音・録画されていません。"),
            ("録音・録画に失敗しました。", "エラーのため、この通話は録音・録画されていません。"),
        ),
        (
            ("文字起こしが開始されました。", "この通話は文字起こしされています。"),
            ("文字起こしは一時停止中です。", "この通話は現在、文字起こしされていません。"),
            ("文字起こしが再開されました。", "この通話は再び文字起こしされています。"),
            ("文字起こしが停止しました。", "この通話はもう文字起こしされていません。"),
            ("文字起こしに失敗しました。", "エラーのため、この通話は文字起こしされていません。"),
        ),
    ),
    "ko": (
        (
            ("녹화가 시작되었습니다.", "이 통화는 녹화되고 있습니다."),
            ("녹화가 일시 중지되었습니다.", "현재 이 통화는 녹화되지 않습니다."),
            ("녹화가 재개되었습니다.", "이 통화는 다시 녹화되고 있습니다."),
            ("녹화가 중지되었습니다.", "이 통화는 더 이상 녹화되지 않습니다."),
            ("녹화에 실패했습니다.", "오류로 인해 이 통화는 녹화되지 않습니다."),
        ),
        (
            ("전사가 시작되었습니다.", "이 통화는 전사되고 있습니다."),
            ("전사가 일시 중지되었습니다.", "현재 이 통화는 전사되지 않습니다."),
            ("전사가 재개되었습니다.", "이 통화는 다시 전사되고 있습니다."),
            ("전사가 중지되었습니다.", "이 통화는 더 이상 전사되지 않습니다."),
            ("전사에 실패했습니다.", "오류로 인해 이 통화는 전사되지 않습니다."),
        ),
    ),
    "nb": (
        (
            ("Opptaket har startet.", "Det gjøres opptak av denne samtalen."),
            ("Opptaket er satt på pause.", "Det gjøres ikke opptak av denne samtalen nå."),
            ("Opptaket er gjenopptatt.", "Det gjøres igjen opptak av denne samtalen."),
            ("Opptaket er stoppet.", "Det gjøres ikke lenger opptak av denne samtalen."),
            ("Opptaket mislyktes.", "På grunn av en feil gjøres det ikke opptak av denne samtalen."),
        ),
        (
            ("Transkripsjonen har startet.", "Denne samtalen transkriberes."),
            ("Transkripsjonen er satt på pause.", "Denne samtalen transkriberes ikke nå."),
            ("Transkripsjonen er gjenopptatt.", "Denne samtalen transkriberes igjen."),
            ("Transkripsjonen er stoppet.", "Denne samtalen transkriberes ikke lenger."),
            ("Transkripsjonen mislyktes.", "På grunn av en feil transkriberes ikke denne samtalen."),
        ),
    ),
    "nl": (
        (
            ("De opname is gestart.", "Dit gesprek wordt opgenomen."),
            ("De opname is onderbroken.", "Dit gesprek wordt nu niet opgenomen."),
            ("De opname is hervat.", "Dit gesprek wordt weer opgenomen."),
            ("De opname is gestopt.", "Dit gesprek wordt niet meer opgenomen."),
            ("De opname is mislukt.", "Door een fout wordt dit gesprek niet opgenomen."),
        ),
        (
            ("De transcriptie is gestart.", "Dit gesprek wordt getranscribeerd."),
            ("De transcriptie is onderbroken.", "Dit gesprek wordt nu niet getranscribeerd."),
            ("De transcriptie is hervat.", "Dit gesprek wordt weer getranscribeerd."),
            ("De transcriptie is gestopt.", "Dit gesprek wordt niet meer getranscribeerd."),
            ("De transcriptie is mislukt.", "Door een fout wordt dit gesprek niet getranscribeerd."),
        ),
    ),
    "pl": (
        (
            ("Nagrywanie zostało rozpoczęte.", "Ta rozmowa jest nagrywana."),
            ("Nagrywanie jest wstrzymane.", "Ta rozmowa nie jest teraz nagrywana."),
            ("Nagrywanie zostało wznowione.", "Ta rozmowa jest ponownie nagrywana."),
            ("Nagrywanie zostało zatrzymane.", "Ta rozmowa nie jest już nagrywana."),
            ("Nagrywanie nie powiodło się.", "Z powodu błędu ta rozmowa nie jest nagrywana."),
        ),
        (
            ("Transkrypcja została rozpoczęta.", "Ta rozmowa jest transkrybowana."),
            ("Transkrypcja jest wstrzymana.", "Ta rozmowa nie jest teraz transkrybowana."),
            ("Transkrypcja została wznowiona.", "Ta rozmowa jest ponownie transkrybowana."),
            ("Transkrypcja została zatrzymana.", "Ta rozmowa nie jest już transkrybowana."),
            ("Transkrypcja nie powiodła się.", "Z powodu błędu ta rozmowa nie jest transkrybowana."),
        ),
    ),
    "pt-BR": (
        (
            ("A gravação começou.", "Esta chamada está sendo gravada."),
            ("A gravação está em pausa.", "Esta chamada não está sendo gravada no momento."),
            ("A gravação foi retomada.", "Esta chamada está sendo gravada novamente."),
            ("A gravação foi interrompida.", "Esta chamada não está mais sendo gravada."),
            ("A gravação falhou.", "Devido a um erro, esta chamada não está sendo gravada."),
        ),
        (
            ("A transcrição começou.", "Esta chamada está sendo transcrita."),
            ("A transcrição está em pausa.", "Esta chamada não está sendo transcrita no momento."),
            ("A transcrição foi retomada.", "Esta chamada está sendo transcrita novamente."),
            ("A transcrição foi interrompida.", "Esta chamada não está mais sendo transcrita."),
            ("A transcrição falhou.", "Devido a um erro, esta chamada não está sendo transcrita."),
        ),
    ),
    "sv": (
        (
            ("Inspelningen har startat.", "Det här samtalet spelas in."),
            ("Inspelningen är pausad.", "Det här samtalet spelas inte in just nu."),
            ("Inspelningen har återupptagits.", "Det här samtalet spelas in igen."),
            ("Inspelningen har stoppats.", "Det här samtalet spelas inte längre in."),
            ("Inspelningen misslyckades.", "På grund av ett fel spelas det här samtalet inte in."),
        ),
        (
            ("Transkriberingen har startat.", "Det här samtalet transkriberas."),
            ("Transkriberingen är pausad.", "Det här samtalet transkriberas inte just nu."),
            ("Transkriberingen har återupptagits.", "Det här samtalet transkriberas igen."),
            ("Transkriberingen har stoppats.", "Det här samtalet transkriberas inte längre."),
            ("Transkriberingen misslyckades.", "På grund av ett fel transkriberas det här samtalet inte."),
        ),
    ),
    "zh-CN": (
        (
            ("录制已开始。", "此通话正在录制。"),
            ("录制已暂停。", "此通话目前未在录制。"),
            ("录制已继续。", "此通话再次开始录制。"),
            ("录制已停止。", "此通话不再录制。"),
            ("录制失败。", "由于出错此通话未在录制。"),
        ),
        (
            ("转录已开始。", "此通话正在转录。"),
            ("转录已暂停。", "此通话目前未在转录。"),
            ("转录已继续。", "此通话再次开始转录。"),
            ("转录已停止。", "此通话不再转录。"),
            ("转录失败。", "由于出错此通话未在转录。"),
        ),
    ),
}
"""Locale (BCP 47) to its recording lines and its transcription lines."""
