using System.Collections.Concurrent;

namespace OrtQuant.Schemes.Group;

/// <summary>
/// Zeroed memory of one length for each tile, in blocks that weights hand on to each other: a model's weights are quantized one after the
/// other, and fresh arrays for each would wait for a collection of the oldest generation.
/// </summary>
internal sealed class CodeBlocks : IDisposable
{
    private const int BlockBytes = 1 << 20;
    private const int MostKept = 64;
    private static readonly ConcurrentBag<byte[]> Kept = [];
    private readonly int _tileBytes;
    private readonly int _tilesPerBlock;
    private byte[][] _blocks;

    public CodeBlocks(int tiles, int tileBytes)
    {
        _tileBytes = tileBytes;
        _tilesPerBlock = Math.Max(1, BlockBytes / tileBytes);
        _blocks = new byte[(tiles + _tilesPerBlock - 1) / _tilesPerBlock][];
        for (var b = 0; b < _blocks.Length; b++)
        {
            _blocks[b] = Rent(Math.Min(_tilesPerBlock, tiles - (b * _tilesPerBlock)) * tileBytes);
        }
    }

    /// <summary>The memory of a tile.</summary>
    /// <exception cref="ObjectDisposedException">The memory was handed back.</exception>
    public Span<byte> Tile(int t)
    {
        ObjectDisposedException.ThrowIf(_blocks.Length == 0, typeof(GroupGrid));
        return _blocks[t / _tilesPerBlock].AsSpan(t % _tilesPerBlock * _tileBytes, _tileBytes);
    }

    public void Dispose()
    {
        foreach (var block in Interlocked.Exchange(ref _blocks, []))
        {
            if (block.Length == BlockBytes && Kept.Count < MostKept)
            {
                Kept.Add(block);
            }
        }
    }

    private static byte[] Rent(int bytes)
    {
        // Of a weight much smaller than a block most of the block would lie idle.
        if (bytes > BlockBytes || bytes < BlockBytes / 8)
        {
            return new byte[bytes];
        }

        if (!Kept.TryTake(out var block))
        {
            return new byte[BlockBytes];
        }

        Array.Clear(block, 0, bytes);
        return block;
    }
}
