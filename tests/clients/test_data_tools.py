"""Data tools on branches and commits: DuckDB's own S3 reader, PyArrow data sets, s3fs and lakefs-spec, and pandas,
Polars and DuckDB through both of them."""

import glob
import hashlib
import re
import sysconfig

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest

from harness.server import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY


@pytest.fixture
def table():
    rows = 5000
    return pyarrow.table(
        {
            "id": range(rows),
            "species": [("Adelie", "Gentoo", "Chinstrap")[n % 3] for n in range(rows)],
            "mass": [float(n % 97) for n in range(rows)],
        }
    )


def test_pyarrow_data_set(server, repository, table):
    fs = server.pyarrow()
    root = f"{repository.id}/main/penguins"
    pyarrow.dataset.write_dataset(
        table, root, filesystem=fs, format="parquet", partitioning=["species"], partitioning_flavor="hive"
    )
    commit = repository.branch("main").commit("Write data set").id
    for ref in ("main", commit):
        found = pyarrow.dataset.dataset(
            f"{repository.id}/{ref}/penguins", filesystem=fs, format="parquet", partitioning="hive"
        )
        assert len(found.files) == 3
        assert found.to_table().sort_by("id").select(["id", "mass"]).equals(table.select(["id", "mass"]))
        only = found.to_table(filter=pyarrow.dataset.field("species") == "Gentoo", columns=["id"])
        assert only.num_rows == 1667
    # Appended on a branch; the commit still reads as before.
    repository.branch("more").create("main")
    pyarrow.parquet.write_table(
        table.slice(0, 10).drop(["species"]),
        f"{repository.id}/more/penguins/species=Adelie/more.parquet",
        filesystem=fs,
        row_group_size=4,
    )
    repository.branch("more").commit("Append")
    assert read_rows(fs, f"{repository.id}/more/penguins") == 5010
    assert read_rows(fs, f"{repository.id}/{commit}/penguins") == 5000


def read_rows(fs, root):
    return pyarrow.dataset.dataset(root, filesystem=fs, format="parquet", partitioning="hive").count_rows()


def test_pyarrow_file_system(server, repository):
    fs = server.pyarrow()
    root = f"{repository.id}/main"
    for name in ("a.txt", "d/b.txt", "d/e/c.txt"):
        with fs.open_output_stream(f"{root}/{name}", metadata={"Content-Type": "text/plain"}) as stream:
            stream.write(name.encode() * 100)
    kinds = {
        i.path.removeprefix(root + "/"): i.type for i in fs.get_file_info(pyarrow.fs.FileSelector(root, recursive=True))
    }
    assert {p for p, t in kinds.items() if t == pyarrow.fs.FileType.File} == {"a.txt", "d/b.txt", "d/e/c.txt"}
    assert kinds["d"] == kinds["d/e"] == pyarrow.fs.FileType.Directory
    info = fs.get_file_info(f"{root}/a.txt")
    assert (info.type, info.size) == (pyarrow.fs.FileType.File, 500)
    assert fs.get_file_info(f"{root}/none").type == pyarrow.fs.FileType.NotFound
    assert fs.get_file_info(f"{root}/d").type == pyarrow.fs.FileType.Directory
    with fs.open_input_file(f"{root}/d/b.txt") as file:
        file.seek(700 - 7)
        assert file.read() == b"d/b.txt"
    assert fs.open_input_stream(f"{root}/a.txt").metadata()["Content-Type"] == b"text/plain"
    fs.copy_file(f"{root}/a.txt", f"{root}/copy.txt")
    fs.move(f"{root}/copy.txt", f"{root}/moved.txt")
    assert fs.get_file_info(f"{root}/copy.txt").type == pyarrow.fs.FileType.NotFound
    assert fs.open_input_stream(f"{root}/moved.txt").read() == b"a.txt" * 100
    fs.delete_dir(f"{root}/d")
    paths = [o.path for o in repository.branch("main").objects() if not o.path.endswith("/")]
    assert paths == ["a.txt", "moved.txt"]


def duckdb_at(server):
    connection = duckdb.connect()
    extension = glob.glob(f"{sysconfig.get_paths()['purelib']}/duckdb_ext/extensions/*/*/httpfs.duckdb_extension")
    connection.load_extension(extension[0])
    if server.certificates:
        connection.execute(f"SET ca_cert_file = '{server.certificates.ca}'")
    connection.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{ACCESS_KEY_ID}', SECRET '{SECRET_ACCESS_KEY}', REGION '{REGION}', "
        f"ENDPOINT '127.0.0.1:{server.port}', URL_STYLE 'path', USE_SSL {str(bool(server.certificates)).lower()})"
    )
    return connection


def test_duckdb(server, repository, table):
    db = duckdb_at(server)
    db.register("penguins", table)
    at = f"s3://{repository.id}/main/t"
    db.execute(f"COPY penguins TO '{at}/a.parquet'")
    db.execute(f"COPY (SELECT * FROM penguins WHERE id < 100) TO '{at}/b.parquet'")
    db.execute(f"COPY penguins TO '{at}/c.csv'")
    commit = repository.branch("main").commit("By DuckDB").id
    db.execute(f"COPY (SELECT * FROM penguins WHERE id < 7) TO '{at}/a.parquet'")

    def one(sql):
        return db.execute(sql).fetchone()[0]

    assert one(f"SELECT count(*) FROM '{at}/a.parquet'") == 7
    assert one(f"SELECT count(*) FROM 's3://{repository.id}/{commit}/t/a.parquet'") == 5000
    assert one(f"SELECT count(*) FROM 's3://{repository.id}/{commit}/t/*.parquet'") == 5100
    assert one(f"SELECT sum(mass) FROM read_csv('s3://{repository.id}/{commit}/t/c.csv')") == sum(
        table["mass"].to_pylist()
    )
    assert one(
        f"SELECT count(*) FROM 's3://{repository.id}/{commit}/t/a.parquet' old "
        f"ANTI JOIN '{at}/a.parquet' new USING (id)"
    ) == 4993  # fmt: skip


def test_s3fs(server, repository, tmp_path):
    fs = server.s3fs()
    root = f"{repository.id}/main"
    content = {f"d/{n % 3}/file {n}+ü.txt": b"%d" % n * 50 for n in range(12)}
    fs.pipe({f"{root}/{p}": data for p, data in content.items()})
    assert set(fs.find(root)) == {f"{root}/{p}" for p in content}
    walked = {f"{directory}/{name}" for directory, _, names in fs.walk(root) for name in names}
    assert walked == {f"{root}/{p}" for p in content}
    assert sorted(fs.ls(f"{root}/d", detail=False)) == [f"{root}/d/{n}" for n in range(3)]
    assert fs.isdir(f"{root}/d") and fs.isfile(f"{root}/d/0/file 0+ü.txt") and not fs.exists(f"{root}/none")
    assert len(fs.glob(f"{root}/d/1/*.txt")) == 4
    assert fs.info(f"{root}/d/0/file 0+ü.txt")["size"] == 50
    assert fs.du(f"{root}/d") == sum(map(len, content.values()))
    with fs.open(f"{root}/d/0/file 0+ü.txt", "rb") as file:
        file.seek(-3, 2)
        assert file.read() == b"000"
    fs.cp(f"{root}/d/0", f"{root}/moved", recursive=True)
    fs.rm(f"{root}/d/0", recursive=True)
    assert not fs.exists(f"{root}/d/0") and len(fs.find(f"{root}/moved")) == 4
    fs.mv(f"{root}/moved/file 0+ü.txt", f"{root}/moved/renamed")
    assert fs.cat(f"{root}/moved/renamed") == b"0" * 50 and len(fs.find(f"{root}/moved")) == 4
    fs.cp(f"{root}/d/1/file 1+ü.txt", f"{root}/copied")
    assert fs.cat(f"{root}/copied") == b"1" * 50
    fs.get(f"{root}/d/", str(tmp_path / "down"), recursive=True)
    assert (tmp_path / "down/2/file 2+ü.txt").read_bytes() == b"2" * 50
    with fs.open(f"{root}/big", "wb", block_size=5 * 2**20) as file:
        file.write(b"x" * (11 * 2**20))
    assert fs.info(f"{root}/big")["size"] == 11 * 2**20
    fs.rm(f"{root}/d", recursive=True)
    assert not fs.exists(f"{root}/d")
    with pytest.raises(FileNotFoundError):
        fs.cat(f"{root}/none")


def test_lakefs_spec(server, repository, tmp_path):
    fs = server.lakefs_spec()
    root = f"{repository.id}/main"
    (tmp_path / "a.txt").write_bytes(b"hello" * 1000)
    fs.put_file(tmp_path / "a.txt", f"{root}/d/a.txt")
    assert fs.checksum(f"{root}/d/a.txt") == hashlib.md5(b"hello" * 1000).hexdigest()
    changed = repository.branch("main").object("d/a.txt").stat().mtime
    fs.put_file(tmp_path / "a.txt", f"{root}/d/a.txt")  # equal, so not sent again
    assert repository.branch("main").object("d/a.txt").stat().mtime == changed
    fs.pipe(f"{root}/d/b.txt", b"b")
    assert [f["name"] for f in fs.ls(f"{root}/d/")] == [f"{root}/d/a.txt", f"{root}/d/b.txt"]
    fs.get_file(f"{root}/d/a.txt", tmp_path / "down.txt")
    assert (tmp_path / "down.txt").read_bytes() == b"hello" * 1000
    with fs.open(f"{root}/d/a.txt", "rb") as file:
        file.seek(5)
        assert file.read(5) == b"hello"
    fs.cp_file(f"{root}/d/a.txt", f"{root}/e.txt")
    assert fs.exists(f"{root}/e.txt") and not fs.exists(f"{root}/none")
    fs.rm(f"{root}/d/", recursive=True)
    assert [o.path for o in repository.branch("main").objects()] == ["e.txt"]
    with fs.open(f"{repository.id}/made-by-writing/x.txt", "wb") as file:  # makes the branch
        file.write(b"x")
    assert "made-by-writing" in [b.id for b in repository.branches()]
    with pytest.raises(FileNotFoundError):
        fs.open(f"{root}/none", "rb").read()


def test_lakefs_spec_transaction(server, repository):
    fs = server.lakefs_spec()
    repository.branch("main").object("a").upload(b"1")
    repository.branch("main").commit("base")
    with fs.transaction(repository.id, "main") as tx:
        fs.pipe(f"{repository.id}/{tx.branch.id}/b", b"2")
        tx.commit("in a transaction")
    assert [o.path for o in repository.branch("main").objects()] == ["a", "b"]
    assert [b.id for b in repository.branches(show_hidden=True)] == ["main"]
    assert repository.branch("main").get_commit().parents[1:]  # a merge commit
    assert tx.rev_parse("main").id == repository.branch("main").head.id


def test_lakefs_spec_second_put_uploads_nothing(http_server, http_repository, tmp_path):
    fs, main = http_server.lakefs_spec(), f"{http_repository.id}/main"
    for n in range(5):
        (tmp_path / "up" / str(n % 2)).mkdir(parents=True, exist_ok=True)
        (tmp_path / "up" / str(n % 2) / f"{n}.bin").write_bytes(b"%d" % n * 1000)

    def uploads():
        _, _, body = http_server.raw("GET", "/metrics")
        counted = re.findall(rb'millpond_requests_total{[^}]*operation="uploadObject"[^}]*} (\d+)', body)
        return sum(map(int, counted))

    before = uploads()
    fs.put(f"{tmp_path}/up/", f"{main}/up/", recursive=True)
    assert uploads() == before + 5
    fs.put(f"{tmp_path}/up/", f"{main}/up/", recursive=True)
    assert uploads() == before + 5
    (tmp_path / "up/0/4.bin").write_bytes(b"changed")
    fs.put(f"{tmp_path}/up/", f"{main}/up/", recursive=True)
    assert uploads() == before + 6
    fs.put(f"{tmp_path}/up/", f"{main}/up/", recursive=True, precheck=False)
    assert uploads() == before + 11
    assert sorted(fs.ls(f"{main}/up/", detail=False)) == [f"{main}/up/0/", f"{main}/up/1/"]
    assert len(fs.find(f"{main}/up/")) == 5 and fs.cat(f"{main}/up/0/4.bin") == b"changed"
    fs.cp(f"{main}/up/0/4.bin", f"{main}/copied.bin")
    fs.get(f"{main}/up/", f"{tmp_path}/down/", recursive=True)
    assert (tmp_path / "down/1/3.bin").read_bytes() == b"3" * 1000
    fs.rm(f"{main}/up/0/4.bin")
    fs.rm(f"{main}/up/1/", recursive=True)
    assert {o.path for o in http_repository.branch("main").objects()} == {"copied.bin", "up/0/0.bin", "up/0/2.bin"}
    assert fs.tail(f"{main}/copied.bin", 3) == b"ged" and fs.modified(f"{main}/copied.bin")


def test_lakefs_spec_transaction_verbs(http_server, http_repository):
    fs = http_server.lakefs_spec()
    main = http_repository.branch("main")
    main.object("a").upload(b"1")
    first = main.commit("base")
    with fs.transaction(http_repository.id, "main") as tx:
        fs.pipe(f"{http_repository.id}/{tx.branch.id}/b", b"2")
        made = tx.commit("b", metadata={"k": "v"})
        tag = tx.tag(made, "of-b")
        tx.merge(tx.branch, "main")
        tx.revert(tx.branch, made)
    assert tag.get_commit().metadata["k"] == "v"
    assert [o.path for o in main.objects()] == ["a"]  # merged, then merged again with the revert
    assert first.id in [c.id for c in main.log()]
    with pytest.raises(RuntimeError):
        with fs.transaction(http_repository.id, "main") as tx:
            fs.pipe(f"{http_repository.id}/{tx.branch.id}/lost", b"3")
            raise RuntimeError
    assert [o.path for o in main.objects()] == ["a"]


@pytest.mark.parametrize("protocol", ["s3", "lakefs"])
def test_frames_through_fsspec(server, repository, table, protocol):
    fs = server.s3fs() if protocol == "s3" else server.lakefs_spec()
    root = f"{repository.id}/main"
    options = (
        {
            "key": ACCESS_KEY_ID,
            "secret": SECRET_ACCESS_KEY,
            "endpoint_url": server.url,
            "client_kwargs": {"region_name": REGION, "verify": server.verify},
        }
        if protocol == "s3"
        else {"host": server.url, "username": ACCESS_KEY_ID, "password": SECRET_ACCESS_KEY, "verify_ssl": False}
    )
    # pandas takes the URL itself.
    frame = table.to_pandas()
    frame.to_parquet(f"{protocol}://{root}/pandas.parquet", storage_options=options)
    frame.to_csv(f"{protocol}://{root}/pandas.csv", index=False, storage_options=options)
    assert pandas.read_parquet(f"{protocol}://{root}/pandas.parquet", storage_options=options).equals(frame)
    assert pandas.read_csv(f"{protocol}://{root}/pandas.csv", storage_options=options).equals(frame)
    # Polars reads and writes files that fsspec opens.
    polar = polars.from_arrow(table)
    with fs.open(f"{root}/polars.parquet", "wb") as file:
        polar.write_parquet(file)
    with fs.open(f"{root}/polars.csv", "wb") as file:
        polar.write_csv(file)
    commit = repository.branch("main").commit("frames").id
    with fs.open(f"{repository.id}/{commit}/polars.parquet", "rb") as file:
        assert polars.read_parquet(file).equals(polar)
    with fs.open(f"{root}/polars.parquet", "rb") as file:
        only = polars.read_parquet(file, columns=["id", "mass"]).filter(polars.col("mass") > 90)
    assert only.height == (table["mass"].to_pandas() > 90).sum()
    with fs.open(f"{root}/polars.csv", "rb") as file:
        assert polars.read_csv(file).equals(polar)
    # DuckDB reads and writes through the registered file system.
    db = duckdb.connect()
    db.register_filesystem(fs)
    db.register("penguins", table)
    counted = db.execute(f"SELECT count(*), sum(mass) FROM '{protocol}://{repository.id}/{commit}/polars.parquet'")
    assert counted.fetchone() == (5000, sum(table["mass"].to_pylist()))
    db.execute(f"COPY (SELECT * FROM penguins WHERE id < 10) TO '{protocol}://{root}/duckdb.parquet' (FORMAT parquet)")
    assert db.execute(f"SELECT max(id) FROM '{protocol}://{root}/duckdb.parquet'").fetchone() == (9,)
