"""A stand-in for a Qdrant server on the gRPC API, for `tests/indexes/qdrant.rs`.

    qdrant.py FOLDER PORT

Built only from what Qdrant publishes in its Python package qdrant-client: the message stubs, the conversions, and the in-process engine.
It is not the server: search is exact, one request runs at a time, and there is no REST, HNSW, WAL, cluster, strict mode or rate limit.
An answered write survives kill -9 of this process, not a power cut. API_KEY=secret refuses calls that lack the header `api-key: secret`,
as the server does; OVERLOADED=7 refuses all that change points for as many seconds, as a server that limits rates does. `qdrant.sh` says
how it is started.
"""
import functools, itertools, os, sys, threading, time, warnings
from concurrent.futures import ThreadPoolExecutor

import grpc as transport
from qdrant_client import grpc, models
from qdrant_client.conversions.conversion import GrpcToRest as read, RestToGrpc as write
from qdrant_client.grpc.collections_service_pb2_grpc import CollectionsServicer, add_CollectionsServicer_to_server
from qdrant_client.grpc.points_service_pb2_grpc import PointsServicer, add_PointsServicer_to_server
from qdrant_client.grpc.qdrant_pb2_grpc import QdrantServicer, add_QdrantServicer_to_server
from qdrant_client.local.qdrant_local import QdrantLocal

Status = transport.StatusCode
warnings.simplefilter("ignore")  # "local mode is not recommended for ..."
engine = QdrantLocal(sys.argv[1], force_disable_check_same_thread=True)
one_at_a_time = threading.Lock()
operations = itertools.count(1)
WRITES = {"Upsert", "Delete", "SetPayload", "OverwritePayload", "UpdateBatch"}


class Refused(Exception):
    """Its two arguments are the status and the detail that the caller sees."""


def refusal(error: Exception) -> tuple[Status, str]:
    """The status with which the server answers what the engine raised."""
    detail = str(error)
    match error:
        case Refused():
            return error.args
        case KeyError():
            return Status.NOT_FOUND, f"Not found: No point with id {error.args[0]} found"
        case ValueError() | TypeError() if detail.startswith("Collection ") and detail.endswith("not found"):
            return Status.NOT_FOUND, detail
        case ValueError() | TypeError():
            return Status.ALREADY_EXISTS if "already exists" in detail else Status.INVALID_ARGUMENT, detail
    return Status.INTERNAL, f"{type(error).__name__}: {detail}"


def answered(service: type) -> type:
    """Wraps every call of a service: key, one at a time, exceptions into statuses, `time` filled in."""

    def wrap(name, call):
        @functools.wraps(call)
        def answer(self, request, context):
            started, key, overload = time.perf_counter(), os.environ.get("API_KEY"), os.environ.get("OVERLOADED")
            if key and dict(context.invocation_metadata()).get("api-key") != key:
                context.abort(Status.UNAUTHENTICATED, "Must provide an API key or an Authorization bearer token")
            if overload and name in WRITES:
                context.set_trailing_metadata([("retry-after", overload)])
                context.abort(Status.RESOURCE_EXHAUSTED, "Rate limiting exceeded: Write rate limit exceeded, retry later")
            try:
                with one_at_a_time:
                    reply = call(self, request)
            except Exception as error:
                context.abort(*refusal(error))
            if "time" in reply.DESCRIPTOR.fields_by_name:
                reply.time = time.perf_counter() - started
            return reply

        return answer

    for name, call in list(vars(service).items()):
        if name[0].isupper():
            setattr(service, name, wrap(name, call))
    return service


def given(message, field: str, convert, default=None):
    return convert(getattr(message, field)) if message.HasField(field) else default


def target(request):
    try:
        return engine._get_collection(request.collection_name)
    except ValueError:
        raise Refused(Status.NOT_FOUND, f"Not found: Collection `{request.collection_name}` doesn't exist!") from None


def keep_after_kill(collection) -> None:
    """The engine commits once a point; with a full sync each time that would be slow, and the log alone survives kill -9."""
    collection.storage.storage.execute("PRAGMA journal_mode=WAL")
    collection.storage.storage.execute("PRAGMA synchronous=OFF")


def done(request) -> grpc.UpdateResult:
    status = grpc.UpdateStatus.Completed if request.wait else grpc.UpdateStatus.Acknowledged
    return grpc.UpdateResult(operation_id=next(operations), status=status)


def written(request) -> grpc.PointsOperationResponse:
    return grpc.PointsOperationResponse(result=done(request))


def check_dimension(collection, vector, name: str) -> None:
    """The engine rejects most wrong vectors by itself, but not in a query, and in other words than the server."""
    sizes = collection.config.vectors
    size = sizes[name].size if isinstance(sizes, dict) and name in sizes else getattr(sizes, "size", None)
    plain = isinstance(vector, list) and vector and isinstance(vector[0], float)
    if plain and size and len(vector) != size:
        raise Refused(Status.INVALID_ARGUMENT, f"Wrong input: Vector dimension error: expected dim: {size}, got {len(vector)}")


def check_points(collection, points) -> None:
    for point in points:
        if isinstance(point.id, str) and len(point.id) < 32:
            raise Refused(Status.INVALID_ARGUMENT, f"Unable to parse UUID: {point.id}")
        for name, vector in (point.vector if isinstance(point.vector, dict) else {"": point.vector}).items():
            check_dimension(collection, vector, name)


def point_of(message: grpc.PointStruct) -> models.PointStruct:
    if not message.id.WhichOneof("point_id_options"):
        raise Refused(Status.INVALID_ARGUMENT, "Empty PointId is provided")
    vector = given(message, "vectors", read.convert_vectors, {})
    return models.PointStruct.model_construct(id=read.convert_point_id(message.id), payload=read.convert_payload(message.payload), vector=vector)


def record(point: models.Record) -> grpc.RetrievedPoint:
    return write.convert_record(point.model_copy(update={"payload": point.payload or {}}))


def aliases_of(found) -> grpc.ListAliasesResponse:
    return grpc.ListAliasesResponse(aliases=[write.convert_alias_description(alias) for alias in found.aliases])


def wanted(request, payload_by_default: bool) -> tuple:
    return (given(request, "with_payload", read.convert_with_payload_interface, payload_by_default),
            given(request, "with_vectors", read.convert_with_vectors_selector, False))


@answered
class Root(QdrantServicer):
    def HealthCheck(self, request):
        return grpc.HealthCheckReply(title="qdrant local engine", version="1.20.0")


@answered
class Collections(CollectionsServicer):
    def Create(self, request):
        if request.collection_name in engine.collections:
            raise Refused(Status.ALREADY_EXISTS, f"Wrong input: Collection `{request.collection_name}` already exists!")
        engine.create_collection(
            request.collection_name, given(request, "vectors_config", read.convert_vectors_config),
            given(request, "sparse_vectors_config", read.convert_sparse_vector_config), read.convert_payload(request.metadata) or None)
        keep_after_kill(engine.collections[request.collection_name])
        return grpc.CollectionOperationResponse(result=True)

    def Get(self, request):
        return grpc.GetCollectionInfoResponse(result=write.convert_collection_info(target(request).info()))

    def List(self, request):
        return grpc.ListCollectionsResponse(collections=[grpc.CollectionDescription(name=name) for name in engine.collections])

    def CollectionExists(self, request):
        return grpc.CollectionExistsResponse(result=grpc.CollectionExists(exists=engine.collection_exists(request.collection_name)))

    def Delete(self, request):
        return grpc.CollectionOperationResponse(result=engine.delete_collection(request.collection_name))

    def UpdateAliases(self, request):
        engine.update_collection_aliases([read.convert_alias_operations(action) for action in request.actions])
        return grpc.CollectionOperationResponse(result=True)

    def ListAliases(self, request):
        return aliases_of(engine.get_aliases())

    def ListCollectionAliases(self, request):
        target(request)
        return aliases_of(engine.get_collection_aliases(request.collection_name))


@answered
class Points(PointsServicer):
    def Upsert(self, request):
        collection, points = target(request), [point_of(point) for point in request.points]
        check_points(collection, points)
        collection.upsert(points, given(request, "update_filter", read.convert_filter), given(request, "update_mode", read.convert_update_mode))
        return written(request)

    def Delete(self, request):
        target(request).delete(read.convert_points_selector(request.points))
        return written(request)

    def SetPayload(self, request):
        where, key = read.convert_points_selector(request.points_selector), given(request, "key", str)
        target(request).set_payload(read.convert_payload(request.payload), where, key)
        return written(request)

    def OverwritePayload(self, request):
        target(request).overwrite_payload(read.convert_payload(request.payload), read.convert_points_selector(request.points_selector))
        return written(request)

    def DeletePayload(self, request):
        target(request).delete_payload(list(request.keys), read.convert_points_selector(request.points_selector))
        return written(request)

    def UpdateBatch(self, request):
        collection, actions = target(request), [read.convert_points_update_operation(operation) for operation in request.operations]
        for action in actions:
            check_points(collection, action.upsert.points if isinstance(action, models.UpsertOperation) else [])
        collection.batch_update_points(actions)
        return grpc.UpdateBatchResponse(result=[done(request) for _ in actions])

    def CreateFieldIndex(self, request):
        target(request)  # the engine filters without an index
        return written(request)

    DeleteFieldIndex = CreateFieldIndex

    def Get(self, request):
        found = target(request).retrieve([read.convert_point_id(i) for i in request.ids], *wanted(request, False))
        return grpc.GetResponse(result=[record(point) for point in found])

    def Scroll(self, request):
        page, following = target(request).scroll(
            given(request, "filter", read.convert_filter), request.limit or 10, given(request, "order_by", read.convert_order_by),
            given(request, "offset", read.convert_point_id), *wanted(request, True))
        offset = None if following is None else write.convert_extended_point_id(following)
        return grpc.ScrollResponse(result=[record(point) for point in page], next_page_offset=offset)

    def Count(self, request):
        return grpc.CountResponse(result=grpc.CountResult(count=target(request).count(given(request, "filter", read.convert_filter)).count))

    def Query(self, request):
        collection, query = target(request), read.convert_query_points(request)
        check_dimension(collection, getattr(query.query, "nearest", query.query), query.using or "")
        found = engine.query_points(
            request.collection_name, query.query, query.using, query.prefetch, query.filter, query.params, query.limit or 10,
            query.offset, *wanted(request, False), query.score_threshold, query.lookup_from)
        return grpc.QueryResponse(result=[write.convert_scored_point(point) for point in found.points])


for collection in engine.collections.values():
    keep_after_kill(collection)
server = transport.server(ThreadPoolExecutor(4), options=[
    ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)])
add_QdrantServicer_to_server(Root(), server)
add_CollectionsServicer_to_server(Collections(), server)
add_PointsServicer_to_server(Points(), server)
port = server.add_insecure_port(f"127.0.0.1:{sys.argv[2]}")
server.start()
print(f"http://127.0.0.1:{port}", flush=True)
sys.stdin.read()
os._exit(0)
