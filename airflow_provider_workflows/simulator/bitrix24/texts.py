"""The error texts that come in the portal's language; clients must not read them."""

from __future__ import annotations

TEXTS = {
    "workflow_unknown": {
        "de": "Der Workflow {id} wurde nicht gefunden oder ist schon beendet.",
        "ru": "Процесс {id} не найден или уже завершён.",
        "en": "The workflow {id} was not found or has already ended.",
    },
    "workflow_there": {
        "de": "Den Workflow {id} gibt es schon.",
        "ru": "Процесс {id} уже существует.",
        "en": "There is a workflow {id} already.",
    },
    "document_limit": {
        "de": "Für dieses Element laufen schon so viele Workflows, wie zugleich laufen dürfen.",
        "ru": "Для этого элемента уже запущено максимальное число процессов.",
        "en": "As many workflows as may run at once are running on this item.",
    },
    "task_answer": {
        "de": "Diese Antwort passt nicht zur Aufgabe",
        "ru": "Такой ответ не подходит заданию",
        "en": "This answer does not suit the task",
    },
    "task_unknown": {"de": "Aufgabe nicht gefunden", "ru": "Задание не найдено", "en": "Task not found"},
    "flow_access_denied": {
        "de": "Zugriff verweigert oder Flow nicht gefunden",
        "ru": "Доступ запрещён или поток не найден",
        "en": "Access denied or flow not found",
    },
    "flow_not_found": {"de": "Flow nicht gefunden", "ru": "Поток не найден", "en": "Flow not found"},
    "flow_id_missing": {
        "de": "Primärschlüssel: Feld id fehlt",
        "ru": "Первичный ключ: нет поля id",
        "en": "Primary: field id not found",
    },
    "flow_name_exists": {
        "de": "Ein Flow mit diesem Namen existiert bereits",
        "ru": "Такой поток уже есть",
        "en": "A flow with this name already exists",
    },
    "flow_field_invalid": {
        "de": "'{name}': Der Wert des Feldes ist ungültig",
        "ru": "'{name}': недопустимое значение поля",
        "en": "'{name}': field's value has an invalid value",
    },
}


def text(key: str, language: str, **values: str) -> str:
    """
    Return a text in the portal's language.

    :param key: which text
    :param language: ``de``, ``ru`` or ``en``
    :param values: to be put into it
    """
    return TEXTS[key][language].format(**values)
