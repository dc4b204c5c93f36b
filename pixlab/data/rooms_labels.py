"""Labels of the procedural rooms. A label is an index into NAMES; 0, "unlabelled", never occurs."""

NAMES = (
    "unlabelled", "floor", "wall", "ceiling", "window", "door", "picture", "table", "chair", "sofa", "bed", "shelf",
    "cabinet", "lamp", "rug", "books", "object",
)  # fmt: skip
(
    UNLABELLED, FLOOR, WALL, CEILING, WINDOW, DOOR, PICTURES, TABLE, CHAIR, SOFA, BED, SHELF, CABINET, LAMP, RUG, BOOKS,
    OBJECT,
) = range(len(NAMES))  # fmt: skip
