"""Compares a JSON document with a schema of the words that docs/status.schema.json uses. What the schema does not name is wrong."""

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float), "null": type(None)}
# They say nothing about the document.
WORDLESS = {"description", "title", "$schema", "$id", "$defs"}
KNOWN = WORDLESS | {"$ref", "oneOf", "type", "const", "enum", "required", "properties", "additionalProperties", "items",
                    "minimum", "maximum", "minItems", "maxItems"}


def complaints(document, schema, root, place=""):
    """What of the document is not as the schema says, a line each."""
    assert set(schema) <= KNOWN, f"the schema has words that are not known here: {set(schema) - KNOWN}"
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        yield from complaints(document, target, root, place)
    if "oneOf" in schema:
        found = [list(complaints(document, one, root, place)) for one in schema["oneOf"]]
        if sum(not one for one in found) != 1:
            yield f"{place}: {document!r} is not exactly one of what it may be: {found}"
    if "type" in schema and not any(has_type(document, word) for word in listed(schema["type"])):
        yield f"{place}: {document!r} is no {schema['type']}"
        return
    if "const" in schema and document != schema["const"] or "enum" in schema and document not in schema["enum"]:
        yield f"{place}: {document!r} is not {schema.get('const', schema.get('enum'))!r}"
    if isinstance(document, dict):
        yield from fields(document, schema, root, place)
    elif isinstance(document, list):
        if not schema.get("minItems", 0) <= len(document) <= schema.get("maxItems", len(document)):
            yield f"{place}: it has {len(document)} items"
        for number, item in enumerate(document):
            yield from complaints(item, schema.get("items", {}), root, f"{place}[{number}]")
    elif isinstance(document, (int, float)):
        if not schema.get("minimum", document) <= document <= schema.get("maximum", document):
            yield f"{place}: {document} is out of its range"


def fields(document, schema, root, place):
    for name in set(schema.get("required", ())) - set(document):
        yield f"{place}.{name}: it is missing"
    named, others = schema.get("properties", {}), schema.get("additionalProperties", "properties" not in schema)
    for name, value in document.items():
        if name in named:
            yield from complaints(value, named[name], root, f"{place}.{name}")
        elif isinstance(others, dict):
            yield from complaints(value, others, root, f"{place}.{name}")
        elif not others and "properties" in schema:
            yield f"{place}.{name}: the schema does not name it"


def listed(word):
    return word if isinstance(word, list) else [word]


def has_type(document, word):
    if isinstance(document, bool):
        return word == "boolean"
    return isinstance(document, TYPES[word])
