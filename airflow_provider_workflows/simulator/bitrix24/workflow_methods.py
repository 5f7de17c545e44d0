"""bizproc.workflow.*: running workflows are listed, started and ended."""

from __future__ import annotations

import re

from airflow_provider_workflows.simulator import php
from airflow_provider_workflows.simulator.bitrix24 import listing, workflows
from airflow_provider_workflows.simulator.bitrix24.call import Answer, ApiError, Call
from airflow_provider_workflows.simulator.bitrix24.texts import text

#: What the runtime reads out of the same array as users' values; the first two have an effect that can be seen.
RUNTIME_KEYS = (
    "PreGeneratedWorkflowId",
    "IgnoreSimultaneousProcessesLimit",
    "ModifiedDocumentField",
    "UseForcedTracking",
    "DocumentEventType",
    "__DocumentType",
)
ELEMENTS = {
    ("crm", "CCrmDocumentLead"): r"LEAD_[0-9]+",
    ("crm", "CCrmDocumentCompany"): r"COMPANY_[0-9]+",
    ("crm", "CCrmDocumentContact"): r"CONTACT_[0-9]+",
    ("crm", "CCrmDocumentDeal"): r"DEAL_[0-9]+",
    ("crm", "Bitrix\\Crm\\Integration\\BizProc\\Document\\Quote"): r"QUOTE_[0-9]+",
    ("crm", "Bitrix\\Crm\\Integration\\BizProc\\Document\\Dynamic"): r"DYNAMIC_[0-9]+_[0-9]+",
    ("crm", "Bitrix\\Crm\\Integration\\BizProc\\Document\\SmartInvoice"): r"SMART_INVOICE_[0-9]+",
    ("disk", "Bitrix\\Disk\\BizProcDocument"): r"[0-9]+",
    ("lists", "BizprocDocument"): r"[0-9]+",
    ("lists", "Bitrix\\Lists\\BizprocDocumentLists"): r"[0-9]+",
}


def instances(call: Call) -> Answer:
    """List running workflows."""
    world = call.world
    columns, settings = workflows.COLUMNS, world.settings
    wanted = listing.conditions(call.upper("FILTER"), columns, settings, call.world.portal_time())
    by = listing.ordering(call.upper("ORDER"), columns, ("MODIFIED", True))
    names = listing.selection(call.upper("SELECT"), columns, ("ID", "MODIFIED", "OWNED_UNTIL"))

    def show(row: workflows.Workflow) -> dict[str, str | None]:
        shown = {name: workflows.show(row, name, settings.server_offset) for name in names}
        if "STARTED" in shown and settings.started_format == "site":
            iso = shown["STARTED"] or ""
            shown["STARTED"] = f"{iso[8:10]}.{iso[5:7]}.{iso[:4]} {iso[11:19]}"
        return shown

    return call.page(world.workflows.view(wanted, by), show)


def start(call: Call) -> Answer:
    """Start a workflow on a document."""
    world = call.world
    template_id = php.integer(call.upper("TEMPLATE_ID"))
    if not template_id:
        raise ApiError(400, "ERROR_WRONG_WORKFLOW_ID", "Empty TEMPLATE_ID")
    template = world.directory.templates.get(template_id)
    if template is None:
        raise ApiError(400, "ERROR_WRONG_WORKFLOW_ID", "Template not found")
    document = [str(part) for part in php.values(call.upper("DOCUMENT_ID"))]
    if len(document) != 3 or not all(document):
        raise ApiError(400, "", "Wrong DOCUMENT_ID!")
    module_id, entity, element = document
    if not re.fullmatch(ELEMENTS.get((module_id, entity), "(?!)"), element):
        raise ApiError(400, "", "Incorrect document type!")
    if template.get("ENTITY") not in (None, entity):
        raise ApiError(400, "", "Template type and DOCUMENT_ID mismatch!")
    parameters = dict(php.entries(call.upper("PARAMETERS")))
    parameters.pop("TargetUser", None)  # it is always who calls
    own = {name: parameters.pop(name, None) for name in RUNTIME_KEYS} if world.settings.obeys_parameters else {}
    limit = world.settings.document_limit if module_id == "crm" else 0
    if php.truth(own.get("IgnoreSimultaneousProcessesLimit")):
        limit = 0
    if limit and world.workflows.on((module_id, element)) >= limit:
        raise ApiError(400, "", text("document_limit", world.settings.language))
    now = world.portal_time()
    id = str(own.get("PreGeneratedWorkflowId") or workflows.uniqid(now))
    if id in world.workflows.rows:
        raise ApiError(400, "", text("workflow_there", world.settings.language, id=id))
    row = workflows.Workflow(
        id=id,
        started=int(now),
        modified=int(now),
        module_id=module_id,
        entity=entity,
        document_id=element,
        started_by=call.caller.user,
        template_id=template_id,
        parameters=parameters,
    )
    world.workflows.add(row, world.directory.lifetimes.get(template_id))
    world.record("bitrix24", "start", row.id, template_id=template_id, document_id=document, parameters=row.parameters)
    return Answer(row.id)


def terminate(call: Call) -> Answer:
    """Stop a workflow and keep its record."""
    status = call.upper("STATUS")
    return _end(call, "terminated", str(status) if status else None)


def kill(call: Call) -> Answer:
    """Stop a workflow and erase its record."""
    return _end(call, "killed", None)


def _end(call: Call, state: str, status: str | None) -> Answer:
    world = call.world
    id = call.upper("ID")
    if not php.truth(id) or not isinstance(id, str):
        raise ApiError(400, "ERROR_WRONG_WORKFLOW_ID", "Empty workflow instance ID")
    row = world.workflows.running(id)
    if row is None:
        return _unknown(call, id, state)
    if state == "killed":
        world.kill(row)
    else:
        world.workflows.end(row, state, status)
    world.record("bitrix24", "kill" if state == "killed" else "terminate", id, status=status)
    return Answer(True)


def _unknown(call: Call, id: str, state: str) -> Answer:
    settings = call.world.settings
    behaviour = settings.kill_unknown if state == "killed" else settings.terminate_unknown
    if behaviour == "true":
        return Answer(True)
    code = "ERROR_WRONG_WORKFLOW_ID" if behaviour == "coded" else ""
    raise ApiError(400, code, text("workflow_unknown", settings.language, id=id))
